"""An agent with a tool of your own and the sandboxed ones: `python examples/sandboxed_agent.py`.

Your function runs in this program, with your rights. Code the model wants to run goes to the sandbox, which has
no network and one folder, and only after `approve` said yes to exactly what will run.
"""

from __future__ import annotations

from agentkit import Agent, Approval, Decision, Finished, ToolDenied, ToolFinished, ToolStarted, tool


@tool
def price_of(fruit: str) -> str:
    """Look up the price of a fruit in our shop.

    Args:
        fruit: Its name, such as apple.
    """
    prices = {"apple": 0.40, "pear": 0.55, "plum": 0.20}
    return f"{prices[fruit.lower()]:.2f} euros" if fruit.lower() in prices else f"we do not sell {fruit}"


def approve(approval: Approval) -> Decision:
    """Allow code in the sandbox, and nothing else; a real program would ask its user."""
    print(f"  asked to approve {approval.call.name}: {approval.call.arguments}")
    return Decision.ALLOW if approval.capabilities == ("execute",) else Decision.DENY


REQUESTS = [
    "What is the price of an apple in the shop?",
    "What is 17 * 23?",
    'Run this Python: print(sum(range(101)), __import__("socket").AF_INET)',
]


def main() -> None:
    """Run each request and show what happens as it happens."""
    with Agent(tools=[price_of], approve=approve) as agent:
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
