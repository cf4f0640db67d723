"""Dates as people write them, and as they are printed: Unix time in ns."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

__all__ = ["parse_date", "utc"]

_SECOND = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX = re.compile(r"@(\d{1,11})(?:[.,](\d{1,9}))?", re.ASCII)
# a date and, behind it, hours and minutes at least; seconds and their fraction; a zone
_DATE = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})(?:[T ]\s*(?P<time>\d{2}:\d{2}(?::\d{2})?)"
    r"(?:(?<=:\d{2}:\d{2})[.,](?P<part>\d{1,9}))?\s*(?P<zone>Z|UTC|[+-]\d{2}:?\d{2}|[+-]\d{2})?)?",
    re.ASCII | re.IGNORECASE,
)


def parse_date(text: str) -> int | None:
    """``2026-11-28``, ``2026-11-28 20:38:25.5``, ``2026-11-28T20:38Z``, ``@1795898305.5``.

    ns since 1970, None if it is no date. Without a zone it is local time, as ``TZ`` says.
    """
    text = text.strip()
    if (unix := _UNIX.fullmatch(text)) is not None:
        return int(unix[1]) * _SECOND + _fraction(unix[2])
    m = _DATE.fullmatch(text)
    if m is None:
        return None
    zone = (m["zone"] or "").upper().replace("UTC", "Z")
    try:
        moment = datetime.fromisoformat(f"{m['day']}T{m['time'] or '00:00'}{zone}")
        whole = (moment if moment.tzinfo else moment.astimezone()) - _EPOCH
    except (ValueError, OverflowError, OSError):
        return None
    return whole // timedelta(seconds=1) * _SECOND + _fraction(m["part"])


def _fraction(digits: str | None) -> int:
    return int((digits or "0").ljust(9, "0"))


def utc(ns: int) -> str | None:
    """``2026-11-28T20:38:25.123456789Z``; None outside the years that dates have."""
    seconds, part = divmod(ns, _SECOND)
    try:
        return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{part:09d}Z"
    except OverflowError:
        return None
