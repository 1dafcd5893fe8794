"""What a qcow2 image says in its head about other files: QEMU opens them, whatever the domain's XML names. Pure.

Whoever once had the image as a raw disk may have written the head. By QEMU's docs/interop/qcow2.txt; numbers are big-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEAD = 64 * 1024
"""Bytes that are enough: the head, its extensions and the names lie in the first cluster, mostly of 64 KiB."""
_MAGIC = b"QFI\xfb"
_EXTERNAL_DATA = 1 << 2
_V2_LENGTH = 72
_BACKING_FORMAT, _DATA_FILE = 0xE2792ACA, 0x44415441


class BadImage(Exception):
    """It is not what the domain takes it for."""


@dataclass(frozen=True, slots=True)
class Head:
    """The other files, as the image spells them; empty where there is none."""

    backing: str = ""
    backing_format: str = ""
    data: str = ""


def read_head(head: bytes) -> Head:
    """Raises BadImage."""
    try:
        return _read(head)
    except (struct.error, UnicodeDecodeError) as wrong:
        raise BadImage(f"is no qcow2 image: {wrong}") from wrong


def _read(head: bytes) -> Head:
    if head[:4] != _MAGIC:
        raise BadImage("is no qcow2 image")
    version, offset, size = struct.unpack_from(">IQI", head, 4)
    features, length = 0, _V2_LENGTH
    if version >= 3:
        (features,) = struct.unpack_from(">Q", head, 72)
        (length,) = struct.unpack_from(">I", head, 100)
    if offset + size > len(head):
        raise BadImage("names what it is layered on far behind its head")
    found = _extensions(head, length)
    backing = head[offset : offset + size].decode() if offset else ""
    data = found.get(_DATA_FILE, b"").decode()
    if features & _EXTERNAL_DATA and not data:
        raise BadImage("has its data in another file that it does not name")
    return Head(backing, found.get(_BACKING_FORMAT, b"").decode(), data)


def _extensions(head: bytes, at: int) -> dict[int, bytes]:
    """By type; the list ends with type 0."""
    found: dict[int, bytes] = {}
    while True:
        kind, size = struct.unpack_from(">II", head, at)
        if not kind:
            return found
        if at + 8 + size > len(head):
            raise BadImage("has a head that is too long")
        found[kind] = head[at + 8 : at + 8 + size]
        at += 8 + -(-size // 8) * 8
