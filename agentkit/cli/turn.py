"""Show one turn as it happens, and return what came of it.

The events stay in their wire form here: reading them into their classes would load pydantic before the first word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agentkit.cli.output import Output, excerpt, place_of, to_json
from agentkit.request.asking import asks

if TYPE_CHECKING:
    from agentkit.client import CoreClient

NOT_FOUND = "not in your documents"
LIMIT_CODE = 7
_ENDINGS = {
    "step_limit": "stopped: too many steps",
    "call_limit": "stopped: too many tool calls",
    "token_limit": "stopped: the answer grew too long",
    "time_limit": "stopped: it took too long",
    "repeated_call": "stopped: the model repeated the same call",
    "invalid_call": "stopped: the model wrote a call that cannot be made",
    "cancelled": "stopped",
}


def run_turn(
    client: CoreClient,
    output: Output,
    *,
    answer: Callable[[dict[str, Any]], Mapping[str, Any]],
    on_event: Callable[[dict[str, Any]], None] = lambda _: None,
    **request: object,
) -> dict[str, Any]:
    """Run one turn, show it, and return its `Finished` event with the calls that were made as `calls`.

    Ctrl-C closes the stream, which stops the turn in the core.
    """
    stream = client.stream("run", answer=answer, **request)
    finished: dict[str, Any] = {}
    calls: list[dict[str, Any]] = []
    show = _Shown(output)
    try:
        for event in stream:
            on_event(event)
            show.event(event)
            match event:
                case {"type": "ToolFinished" | "ToolDenied"}:
                    calls.append(
                        {**event["call"], **{k: v for k, v in event.items() if k not in ("type", "call")}}
                    )
                case {"type": "Finished"}:
                    finished = event
    finally:
        stream.close()
        show.end_line()
    return {**finished, "calls": calls}


class _Shown:
    """What stands on the terminal so far."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._said = ""

    def event(self, event: Mapping[str, Any]) -> None:
        match event:
            case {"type": "TextDelta", "text": str(text)}:
                if not self._said:
                    text = text.lstrip()
                self._said += text
                self._output.piece(text)
            case {"type": "ToolStarted", "call": call}:
                self.end_line()
                self._output.note(f"  {call['name']} {to_json(call['arguments'])}", "cyan")
            case {"type": "ToolFinished"}:
                sign = "failed" if event["is_error"] else "gave"
                self._output.note(
                    f"  {sign}: {excerpt(event['text'])}  ({event['where']}, {event['seconds']:.2f} s)"
                )
            case {"type": "ToolDenied", "call": call}:
                self.end_line()
                self._output.note(f"  {call['name']} did not run: {event['reason']}", "yellow")
            case {"type": "CallRefused"}:
                self.end_line()
                names = ", ".join(str(call["name"]) for call in event["calls"]) or "a tool"
                then = "; it is told so" if event["again"] else ""
                self._output.note(f"  {names} cannot be called so: {event['reason']}{then}", "yellow")
            case {"type": "CallSettled", "dropped": [_, *_] as dropped}:
                self.end_line()
                self._output.note(f"  left out, as nobody spoke of it: {', '.join(dropped)}", "dim")
            case {"type": "Finished", "text": str(text)} if text.strip() and not self._said.strip().endswith(
                text.strip()
            ):
                self.end_line()  # the answer is another than what was streamed: the last word counts
                self._output.line(text.strip())
                self._said = ""

    def end_line(self) -> None:
        if self._said and not self._said.endswith("\n"):
            self._output.line()
        self._said = ""


def show_end(finished: Mapping[str, Any], output: Output) -> None:
    """Write why a turn ended, where that is not plain from the answer."""
    ending = str(finished.get("ending", "cancelled"))
    if ending in _ENDINGS:
        output.note(f"({_ENDINGS[ending]})", "yellow")


def show_sources(finished: Mapping[str, Any], output: Output) -> None:
    """Write the passages the answer rests on, if it is not made of them, and how sure it is and why."""
    evidence = finished.get("evidence") or ()
    said = " ".join(str(finished.get("text", "")).split())
    if evidence:
        output.line()
        output.line("sources:", "bold")
    for each in evidence:
        output.line(f"  {place_of(each)}")
        if " ".join(each["quote"].split()) not in said:
            output.line(f"    \u201c{excerpt(each['quote'], 400)}\u201d", "dim")
    if finished.get("confidence"):
        output.line(f"confidence: {finished['confidence']} ({finished['confidence_reason']})")


def show_backing(request: str, finished: Mapping[str, Any], output: Output) -> None:
    """Write what the answer to `request` rests on; a question that was answered from nothing is not left unsaid."""
    answered, sure = finished.get("ending") == "answered", finished.get("confidence") != "low"
    if answered and ((finished.get("evidence") and sure) or (not sure and asks(request))):
        show_sources(finished, output)


def exit_code(finished: Mapping[str, Any]) -> int:
    """Return the exit code of a turn: an honest `not found` is a success, a limit is not."""
    ending = finished.get("ending")
    if ending in ("answered", "not_found"):
        return 0
    return 130 if ending == "cancelled" else LIMIT_CODE
