"""The process that tries a chat template: `python -I -m agentkit.models.template_worker`.

A template came with a downloaded file: whoever only asks what it is like, as `models show` does, runs it no nearer to
himself than the engine does. Locked like the engine's worker, with nothing to read but its own code.

Frame in: `{"id", "do": "try", "template", "tool_format"}`. Frame out: `{"id", "is": "tried" | "failed", …}`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from agentkit.errors import AgentkitError
from agentkit.models.connection import Connection
from agentkit.models.formats.choose import AUTO
from agentkit.spawn import ENGINE_ENVIRONMENT, Spawner, worker_channel
from agentkit.wire import ConnectionLost

WORKER = "agentkit.models.template_worker"
SECONDS = 30.0


def try_template(template: str | None, spawner: Spawner, tool_format: str = AUTO) -> dict[str, Any]:
    """Return how a model with this template writes calls, or why the template cannot be used, ready for JSON.

    Raises:
        ConfigError: There is no such format.
        EngineError: The worker was lost.
    """
    connection = Connection(spawner.spawn(WORKER, (), extra=ENGINE_ENVIRONMENT))
    try:
        number = connection.send("try", {"template": template, "tool_format": tool_format})
        frame = connection.receive(number, SECONDS)
    finally:
        connection.kill()
    return {key: value for key, value in frame.items() if key not in ("id", "is")}


def describe_template(template: str | None, tool_format: str) -> dict[str, Any]:
    """Try a template here; runs only inside the worker."""
    from agentkit.models.template import ChatTemplate, TemplateError

    try:
        made = ChatTemplate(template, tool_format=tool_format)
    except TemplateError as error:
        return {"refused": error.message}
    chosen = made.chosen
    return {
        "format": chosen.format.name,
        "because": chosen.reason,
        "the_template_writes": chosen.native,
        "trigger": chosen.format.trigger,
        "calls_at_once": chosen.format.max_calls or "several",
        "thoughts": made.envelope.thought_opening if made.envelope else "none",
        "fingerprint": made.fingerprint,
    }


def main() -> None:
    """Answer one frame."""
    from agentkit.models.engine_wire import error_kind
    from agentkit.models.engine_worker import lock

    channel = worker_channel()
    with suppress(ConnectionLost):
        request = channel.receive()
        number = request["id"]
        try:
            lock([])
            said = describe_template(request["template"], request["tool_format"])
            channel.send({"id": number, "is": "tried", **said})
        except AgentkitError as error:
            kind = error_kind(error)
            channel.send(
                {"id": number, "is": "failed", "kind": kind, "message": error.message, "hint": error.hint}
            )


if __name__ == "__main__":
    main()
