"""An agent with a tool of your own and the sandboxed ones: `python examples/sandboxed_agent.py`.

Your function runs in this program, with your rights. Code the model wants to run goes to the sandbox, which has
no network and one folder, and only after `approve` said yes to exactly what will run.
"""

from __future__ import annotations

from agentkit import Agent, Approval, Decision, Finished, ToolDenied, ToolFinished, ToolStarted, tool


@tool
def compute_price(kilos: float) -> str:
    """Compute the price of apples in our shop.

    Args:
        kilos: How many kilograms.
    """
    return f"{kilos * 2.40:.2f} euros"


def approve(approval: Approval) -> Decision:
    """Allow code in the sandbox, and nothing else; a real program would ask its user."""
    print(f"  asked to approve {approval.call.name}: {approval.call.arguments}")
    return Decision.ALLOW if "execute" in approval.capabilities else Decision.DENY


REQUESTS = [
    "How much do 3 kilos of apples cost?",
    "What is 17 * 23?",
    'Run this Python: print(sum(range(101)), __import__("socket").AF_INET)',
]


def main() -> None:
    """Run each request and show what happens as it happens."""
    with Agent(tools=[compute_price], approve=approve) as agent:
        for request in REQUESTS:
            print(f"\n> {request}")
            for event in agent.run(request):
                match event:
                    case ToolStarted(call):
                        print(f"  {call.name}({call.arguments})")
                    case ToolFinished(_, text, is_error, seconds, where):
                        print(
                            f"  → {text.strip()}  [{where}, {seconds:.2f} s{', error' if is_error else ''}]"
                        )
                    case ToolDenied(call, reason):
                        print(f"  {call.name} was not run: {reason}")
                    case Finished(text, ending):
                        print(f"  {text.strip()}  [{ending}]")


if __name__ == "__main__":
    main()
