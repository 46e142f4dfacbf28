"""Which times of the day a text speaks of, each in every way it can be meant: `6:45 pm`, `half past six` (English).

Not covered: times that follow from others ("an hour later"), and hours without "at", "pm" or minutes.
"""

from __future__ import annotations

import re

from agentkit.request.dates import CARDINALS

_HOUR = rf"\d{{1,2}}|{'|'.join(sorted((word for word, number in CARDINALS.items() if number <= 12), key=len)[::-1])}"
_FOLLOWS = "on|in the|at night|today|tonight|tomorrow|and|or|for|please|every|each|sharp|with|next|this"
_TIME = re.compile(
    r"(?<![\w:.,/-])(?:"
    rf"(?P<part>half past|quarter past|quarter to)\s+(?P<of>{_HOUR})\b"
    r"|(?P<hour>\d{1,2}):(?P<minute>[0-5]\d)(?!:?\d)"
    rf"|(?P<full>{_HOUR})(?=\s*(?:[ap]\.?m\b|o'?clock))"
    rf"|(?<=\bat )(?P<bare>{_HOUR})(?=\s*(?:$|[;?!]|[.,](?!\d)|(?:{_FOLLOWS})\b))"
    r"|(?P<name>noon|midday|midnight))"
    r"(?:\s*o'?clock)?(?:\s*(?P<half>[ap])\.?m\b)?(?:\s+(?:in the|at)\s+(?P<of_day>morning|afternoon|evening|night))?",
    re.IGNORECASE,
)
_PARTS = {"half past": (0, 30), "quarter past": (0, 15), "quarter to": (-1, 45)}


def times(text: str) -> list[frozenset[str]]:
    """Return the times in `text`, in order and each once, as `HH:MM`; both hours where it may be morning or evening."""
    found = []
    for match in _TIME.finditer(text):
        if match["name"]:
            found.append(frozenset({"00:00" if match["name"].lower() == "midnight" else "12:00"}))
            continue
        said = (match["of"] or match["hour"] or match["full"] or match["bare"]).lower()
        hour = int(said) if said.isdecimal() else CARDINALS[said]
        less, minute = _PARTS.get((match["part"] or "").lower(), (0, int(match["minute"] or 0)))
        late, of_day = (match["half"] or "").lower(), (match["of_day"] or "").lower()
        if hour > 24 or (late and hour > 12):
            continue
        hours = {hour % 24}
        if late or of_day:
            is_late = (
                late == "p" or of_day in ("afternoon", "evening") or (of_day == "night" and 5 < hour < 12)
            )
            hours = {hour % 12 + 12 if is_late else hour % 12} if hour <= 12 else hours
        elif 0 < hour <= 12 and not (match["hour"] and match["hour"].startswith("0")):
            hours = {hour % 24, (hour + 12) % 24}
        found.append(frozenset(f"{(each + less) % 24:02}:{minute:02}" for each in hours))
    return list(dict.fromkeys(found))
