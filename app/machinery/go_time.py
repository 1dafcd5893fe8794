"""RFC 3339 times, and what Go says of a text that is none."""

from __future__ import annotations

import re

_LAYOUT = "2006-01-02T15:04:05Z07:00"
_ELEMENTS = (
    ("2006", r"\d{4}"), ("-", "-"), ("01", r"\d\d"), ("-", "-"), ("02", r"\d\d"), ("T", "T"),
    ("15", r"\d\d"), (":", ":"), ("04", r"\d\d"), (":", ":"), ("05", r"\d\d(?:[.,]\d+)?"),
    ("Z07:00", r"Z|[+-]\d\d:\d\d"),
)  # fmt: skip
_RANGES = (("month", 5, 1, 12), ("day", 8, 1, 31), ("hour", 11, 0, 23), ("minute", 14, 0, 59), ("second", 17, 0, 59))


def time_error(text: str) -> str:
    """Why the text is no time; empty when it is one."""
    rest = text
    for element, pattern in _ELEMENTS:
        found = re.match(pattern, rest)
        if found is None:
            return f'parsing time "{text}" as "{_LAYOUT}": cannot parse "{rest}" as "{element}"'
        rest = rest[found.end() :]
    if rest:
        return f'parsing time "{text}": extra text: "{rest}"'
    for name, at, low, high in _RANGES:
        if not low <= int(text[at : at + 2]) <= high:
            return f'parsing time "{text}": {name} out of range'
    return ""
