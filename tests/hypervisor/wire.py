"""What crosses a lab's cables: every TCP stream that a host receives, put together again."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from app.lab.namespaces import NamespaceLab

LISTEN = """
import socket, struct, sys, threading
EVERY_PROTOCOL, SO_RCVBUFFORCE, SOL_PACKET, PACKET_STATISTICS = 3, 33, 263, 6
heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
heard.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 128 << 20)
heard.bind((sys.argv[1], 0))
heard.settimeout(0.2)
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
print("listening", flush=True)
with open(sys.argv[2], "wb") as kept:
    quiet = False
    while not (over.is_set() and quiet):
        try:
            frame = heard.recv(1 << 17)
            quiet = False
        except TimeoutError:
            quiet = True
            continue
        kept.write(struct.pack("!I", len(frame)) + frame)
_, dropped = struct.unpack("II", heard.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
print(dropped, flush=True)
"""
"""Frames with their lengths into a file, until standard input ends; then how many were lost."""


class Wire:
    """The streams of one capture. Empty until the capture has ended."""

    def __init__(self) -> None:
        self.streams: list[bytes] = []

    def carried(self, content: bytes) -> bool:
        """In the clear, in one of the streams."""
        return any(content in stream for stream in self.streams)

    @property
    def bytes(self) -> int:
        return sum(len(stream) for stream in self.streams)


@contextmanager
def tapped(lab: NamespaceLab, name: str) -> Iterator[Wire]:
    """What goes to and comes from that host while the block runs. Raises AssertionError when frames were missed."""
    file, wire = lab.directory / f"{name}.frames", Wire()
    command = lab.switch.command(sys.executable, "-c", LISTEN, lab[name].port, str(file))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None and listener.stdin is not None
        assert listener.stdout.readline() == "listening\n"
        try:
            yield wire
        finally:
            listener.stdin.close()
            lost = listener.stdout.readline().strip()
    assert lost == "0", f"{lost} frames were missed"
    wire.streams = list(_streams(file))


def _streams(file: Path) -> Iterator[bytes]:
    segments: defaultdict[bytes, dict[int, bytes]] = defaultdict(dict)
    for frame in _frames(file.read_bytes()):
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:  # neither IPv4 nor TCP
            continue
        start = 14 + (frame[14] & 15) * 4
        payload = frame[start + (frame[start + 12] >> 4) * 4 : 14 + int.from_bytes(frame[16:18], "big")]
        if payload:
            flow = frame[26:34] + frame[start : start + 4]
            segments[flow][int.from_bytes(frame[start + 4 : start + 8], "big")] = payload
    for parts in segments.values():
        yield _joined(parts)


def _frames(kept: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(kept):
        size = int.from_bytes(kept[at : at + 4], "big")
        yield kept[at + 4 : at + 4 + size]
        at += 4 + size


def _joined(parts: dict[int, bytes]) -> bytes:
    """By sequence number; a segment that was sent again, or in part, adds nothing twice."""
    ordered = sorted(parts.items())
    cut = [part[: following - sequence] for (sequence, part), (following, _) in pairwise(ordered)]
    return b"".join([*cut, ordered[-1][1]])
