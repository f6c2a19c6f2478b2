"""Cron expressions as Kubeflow reads them: six fields, seconds first.

Its parser also takes five fields, and then reads `0 3 * * *` as second 0 of minute 3 of every hour. Nobody who writes five fields
means that, so five become six here.
"""

import re
from datetime import datetime, timedelta

from cavmae.errors import InputError

_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of the week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_NAMED = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_PART = re.compile(r"(\*|\?|[A-Za-z]{3}|[0-9]{1,2})(?:-([A-Za-z]{3}|[0-9]{1,2}))?(?:/([0-9]{1,2}))?")
_ZONES_MIN = 15  # the offsets of the world's time zones are multiples of it


def normal_cron(text: str) -> str:
    """Return a cron expression in six fields; raises InputError naming the field that is wrong."""
    words = _NAMED.get(text.strip().lower(), text).split()
    if len(words) == 5:
        words = ["0", *words]
    if len(words) != 6:
        raise InputError(
            f"--cron {text!r}: has {len(words)} fields; write minute, hour, day of the month, month and day of the week "
            "(0 or sun is Sunday), or seconds before them"
        )
    for word, field in zip(words, _FIELDS, strict=True):
        _moments(word, field, text)
    return " ".join(words)


def may_fire(cron: str, start: datetime, end: datetime) -> bool:
    """Whether a schedule may fire from `start` to `end`, both included.

    `cron` is one of six fields; anything else may fire at any time. Hours are not looked at: the time zone that Kubeflow
    counts in is not known here.
    """
    words = cron.split()
    try:
        seconds, minutes = (_moments(word, field, cron) for word, field in zip(words[:2], _FIELDS, strict=False))
    except (InputError, ValueError):
        return True
    everywhere = {(minute + shift) % 60 for minute in minutes for shift in range(0, 60, _ZONES_MIN)}
    moment = start.replace(microsecond=0)
    while moment <= end:
        if moment.second in seconds and moment.minute in everywhere:
            return True
        moment += timedelta(seconds=1)
    return False


def _moments(word: str, field: tuple[str, int, int, tuple[str, ...]], text: str) -> set[int]:
    """The numbers that a field stands for."""
    name, lowest, highest, _ = field
    found: set[int] = set()
    for part in word.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise InputError(f"--cron {text!r}: {part!r} is no {name}")
        first, last, step = match.groups()
        if first in ("*", "?"):
            start, stop = lowest, highest
        else:
            start = _number(first, field)
            stop = _number(last, field) if last else highest if step else start
        every = int(step) if step else 1
        if not lowest <= start <= stop <= highest or every < 1 or (first in ("*", "?") and last):
            raise InputError(f"--cron {text!r}: {part!r} is no {name} from {lowest} to {highest}")
        found.update(range(start, stop + 1, every))
    return found


def _number(word: str, field: tuple[str, int, int, tuple[str, ...]]) -> int:
    _, lowest, _, names = field
    if word.isdigit():
        return int(word)
    return names.index(word.lower()) + lowest if word.lower() in names else -1
