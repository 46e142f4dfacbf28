"""How model families write tool calls, as data: one object a family."""
