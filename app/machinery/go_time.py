"""RFC 3339 times, and what Go says of a text that is none."""

from __future__ import annotations

import re

_MINUTES = (
    ("2006", r"\d{4}"), ("-", "-"), ("01", r"\d\d"), ("-", "-"), ("02", r"\d\d"), ("T", "T"),
    ("15", r"\d\d"), (":", ":"), ("04", r"\d\d"), (":", ":"),
)  # fmt: skip
_ZONE = ("Z07:00", r"Z|[+-]\d\d:\d\d")
_TIME = (*_MINUTES, ("05", r"\d\d(?:[.,]\d+)?"), _ZONE)
_MICRO_TIME = (*_MINUTES, ("05", r"\d\d"), (".000000", r"[.,]\d{6}"), _ZONE)
_RANGES = (("month", 5, 1, 12), ("day", 8, 1, 31), ("hour", 11, 0, 23), ("minute", 14, 0, 59), ("second", 17, 0, 59))


def time_error(text: str, *, micro: bool = False) -> str:
    """Why the text is no time, or none that is told to the microsecond; empty when it is one."""
    rest, elements = text, _MICRO_TIME if micro else _TIME
    for element, pattern in elements:
        found = re.match(pattern, rest)
        if found is None:
            layout = "".join(name for name, _ in elements)
            return f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{element}"'
        rest = rest[found.end() :]
    if rest:
        return f'parsing time "{text}": extra text: "{rest}"'
    for name, at, low, high in _RANGES:
        if not low <= int(text[at : at + 2]) <= high:
            return f'parsing time "{text}": {name} out of range'
    return ""
