"""Get an answer as a value of your own type: the agent calls your tool, answers, and fills in the form.

    python examples/typed_answer.py

The answer itself streams as always; `output` is filled in afterwards, in a second pass that no tool takes part in, so
that it always is what its type says, or an `OutputError`.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from agentkit import Agent, CallRefused, Finished, ToolFinished, tool


class Lamp(BaseModel):
    """A lamp on the shelf."""

    name: str = Field(description="name of the lamp")
    pieces: int = Field(ge=0, description="how many are in stock")
    price: float = Field(description="price in euros")


@tool
def lamps_in_stock() -> str:
    """Tell which lamps are in stock, how many, and at what price."""
    return "Aurora: 42 pieces in stock, 17.50 euros each"


with Agent(tools=[lamps_in_stock], builtin_tools=[]) as agent:
    for event in agent.run(
        "How many Aurora lamps are in stock, and at what price?",
        tool_choice={"name": "lamps_in_stock"},
        output=Lamp,
    ):
        match event:
            case ToolFinished(call, text):
                print(f"{call.name}({call.arguments}) -> {text}")
            case CallRefused(reason=reason):
                print(f"a call was refused: {reason}")
            case Finished(text=text, output=lamp):
                print(text)
                print(repr(lamp))
