"""Tools an agent may call, the policy that decides, and the sandbox they run in."""
