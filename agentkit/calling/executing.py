"""Carry out one call: policy → approval → tool → labelled result, with an event for each.

Nothing else runs a tool. The policy decides on labels; the toolbox contains the tool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agentkit import prompt
from agentkit.context.assemble import Window
from agentkit.events import Approval, Decision, Event, ToolDenied, ToolFinished, ToolStarted
from agentkit.labels import Labels, Origin, Privacy, calling_with
from agentkit.limits import Spent
from agentkit.messages import Message, ToolCall
from agentkit.transcript import Transcript

if TYPE_CHECKING:
    from agentkit_tools import Policy, Tool, Toolbox

Approve = Callable[[Approval], Decision]
_NO = {Decision.DENY: "the user said no", Decision.NOBODY: "there is nobody to ask"}


class Executor:
    """Runs the calls of one conversation."""

    def __init__(
        self, toolbox: Toolbox, policy: Policy, approve: Approve | None, clock: Callable[[], float]
    ) -> None:
        """Compose; nothing runs yet.

        Args:
            toolbox: Every tool there is.
            policy: Rules on each call.
            approve: Asked where the policy asks; absent means deny.
            clock: Seconds, never going back.
        """
        self._toolbox = toolbox
        self._policy = policy
        self._approve = approve
        self._clock = clock

    def run(self, call: ToolCall, window: Window, transcript: Transcript, spent: Spent) -> Iterator[Event]:
        """Rule on one call, run it, and append its result to `transcript` before telling of it.

        Args:
            call: What the model asks for.
            window: What it had read when it did.
            transcript: Where the result goes.
            spent: What the turn has used; time for an approval is not counted.
        """
        labels = window.labels.join(Labels(Origin.MODEL, Privacy.PUBLIC))
        if call.name not in self._toolbox.names():
            text = prompt.unknown_tool(call.name)
            transcript.append(Message.tool(call, text, labels))
            yield ToolFinished(call, text, is_error=True, seconds=0.0, where="core")
            return
        tool = self._toolbox.get(call.name)
        refusal = self._refusal(tool, call, window, spent)
        if refusal is not None:
            transcript.append(Message.tool(call, prompt.DENIED, labels))
            yield ToolDenied(call, refusal)
            return
        yield ToolStarted(call)
        began = self._clock()
        with calling_with(labels):
            output = self._toolbox.call(call.name, call.arguments)
        seconds = self._clock() - began
        text = prompt.failed(output.text) if output.is_error else output.text
        # A result can repeat the arguments, and those came from everything the model had read.
        result = Labels(Origin(output.origin), Privacy(output.privacy), tuple(output.sources)).join(labels)
        transcript.append(Message.tool(call, text, result))
        yield ToolFinished(call, text, output.is_error, seconds, output.where)

    def _refusal(self, tool: Tool, call: ToolCall, window: Window, spent: Spent) -> str | None:
        """Return why the call may not run, or nothing if it may."""
        ruling = self._policy.rule(tool, call.arguments, read_origins=window.origins)
        if ruling.verdict == "allow":
            return None
        if ruling.verdict != "ask":
            return str(ruling.reason)
        if self._approve is None:
            return f"{ruling.reason}; {_NO[Decision.NOBODY]}"
        asked = self._clock()
        decision = self._approve(
            Approval(
                call=call,
                tool_description=tool.description,
                capabilities=tuple(sorted(tool.capabilities)),
                reason=ruling.reason,
                origin=window.labels.origin.value,
            )
        )
        spent.waited(self._clock() - asked)
        return None if decision is Decision.ALLOW else _NO[decision]
