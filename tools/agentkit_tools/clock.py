"""What time it is, said so that a model can neither misread it nor need to compute."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agentkit_tools.errors import ToolInputError


def describe(now: datetime, timezone: str = "") -> str:
    """Return date, weekday and time as one line.

    Args:
        now: Aware, in the user's own time zone.
        timezone: An IANA name such as `Europe/Berlin`, or empty for the user's own.

    Raises:
        ToolInputError: There is no such time zone.
    """
    if timezone.strip():
        try:
            now = now.astimezone(ZoneInfo(timezone.strip()))
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ToolInputError(
                f"there is no time zone {timezone[:64]!r}",
                hint="use a name such as Europe/Berlin, or leave it out",
            ) from error
    offset = now.strftime("%z")
    day = now.strftime("%A, %d %B %Y").replace(", 0", ", ")
    return f"{day}, {now:%H:%M:%S} (UTC{offset[:3]}:{offset[3:5]}, week {now.isocalendar().week})"
