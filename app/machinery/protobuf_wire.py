"""Protobuf's wire format, as far as both of our writers need it."""

from __future__ import annotations

_LENGTH = 2


def varint(value: int) -> bytes:
    """Of a negative number the 64 bits of its complement."""
    value &= (1 << 64) - 1
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def blob(field: int, value: bytes) -> bytes:
    """A field of that many bytes: a text, a message."""
    return varint(field << 3 | _LENGTH) + varint(len(value)) + value
