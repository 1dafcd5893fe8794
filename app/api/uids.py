"""Random UUIDs, made with less ado than the standard library's."""

from __future__ import annotations

import os

# RFC 9562: the version is 4, the variant 0b10, and all else random.
_FIXED = 0x4 << 76 | 0x2 << 62
_RANDOM = (1 << 128) - 1 & ~(0xF << 76) & ~(0x3 << 62)


def random_uid() -> str:
    """A version 4 UUID."""
    number = int.from_bytes(os.urandom(16)) & _RANDOM | _FIXED
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
