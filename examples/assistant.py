"""A personal assistant that remembers, in a terminal: `python examples/assistant.py [NAME]`.

The conversation NAME and everything you ask it to remember are kept in the encrypted vault; start it again
and it goes on where you left off. Ctrl-D ends it.
"""

from __future__ import annotations

import sys

from agentkit import Agent, Approval, Decision, Finished, TextDelta, ToolStarted


def approve(approval: Approval) -> Decision:
    """Ask on the terminal, showing exactly what would run and why it is asked."""
    print(f"\n  {approval.call.name} wants to run with {approval.call.arguments}\n  ({approval.reason})")
    return Decision.ALLOW if input("  allow? [y/N] ").strip().lower() == "y" else Decision.DENY


def main(arguments: list[str]) -> None:
    """Read lines, answer each, until the input ends."""
    name = arguments[0] if arguments else "assistant"
    with Agent(conversation=name, approve=approve) as agent:
        while True:
            try:
                line = input("you: ").strip()
            except EOFError:
                print()
                return
            if not line:
                continue
            for event in agent.run(line):
                match event:
                    case ToolStarted(call):
                        print(f"  ({call.name} {call.arguments})")
                    case TextDelta(text):
                        print(text, end="", flush=True)
                    case Finished(_, ending, _, usage):
                        print(f"\n  [{ending}, {usage.completion_tokens} tokens]")


if __name__ == "__main__":
    main(sys.argv[1:])
