"""What time it is, said so that a model can neither misread it nor need to compute."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from agentkit_tools.errors import ToolInputError


def describe(now: datetime, timezone: str = "") -> str:
    """Return date, weekday and time as one line.

    Args:
        now: Aware, in the user's own time zone.
        timezone: An IANA name such as `Europe/Berlin`, its city alone, or empty for the user's own.

    Raises:
        ToolInputError: There is no such time zone.
    """
    if timezone.strip():
        try:
            now = now.astimezone(_zone(timezone.strip(), now))
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ToolInputError(
                f"there is no time zone {timezone[:64]!r}",
                hint="use a name such as Europe/Berlin, or leave it out",
            ) from error
    offset = now.strftime("%z")
    day = now.strftime("%A, %d %B %Y").replace(", 0", ", ")
    return f"{day}, {now:%H:%M:%S} (UTC{offset[:3]}:{offset[3:5]}, week {now.isocalendar().week})"


def _zone(name: str, now: datetime) -> ZoneInfo:
    """Return the zone of that name, however it is written, or of that city, where there is one time for it."""
    said = name.replace(" ", "_").casefold()
    every = sorted(available_timezones())
    named = [zone for zone in every if zone.casefold() == said]
    named = named or [zone for zone in every if zone.rsplit("/", 1)[-1].casefold() == said]
    zones = [ZoneInfo(zone) for zone in named]
    return zones[0] if len({now.astimezone(zone).utcoffset() for zone in zones}) == 1 else ZoneInfo(name)
