"""Pings from a lab's switch: how long an address was silent, by the clock of the machine that asks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from app.lab.namespaces import NamespaceLab

EVERY_S = 0.01
ASK = """
import os, select, socket, struct, sys, time
address, every_s = sys.argv[1], float(sys.argv[2])
asked = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
asked.setblocking(False)
me, number, due = os.getpid() & 0xffff, 0, time.monotonic()

def checksum(words):
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff

while True:
    ready, _, _ = select.select([asked, sys.stdin], [], [], max(0, due - time.monotonic()))
    if sys.stdin in ready:
        break
    if asked in ready:
        packet, at = asked.recv(2048), time.monotonic()
        reply = packet[(packet[0] & 15) * 4:]
        if reply[0] == 0 and struct.unpack("!H", reply[4:6])[0] == me:
            print(struct.unpack("!H", reply[6:8])[0], at, flush=True)
    if time.monotonic() >= due:
        number, due = (number + 1) & 0xffff, due + every_s
        head = struct.pack("!BBHHH", 8, 0, 0, me, number)
        head = struct.pack("!BBHHH", 8, 0, checksum(head), me, number)
        try:
            asked.sendto(head, (address, 0))
        except OSError:
            pass  # nobody has that address yet: asked again
print("asked", number, flush=True)
"""
"""One echo request every so often until standard input ends; each reply's number and moment on a line of its own."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back while the block ran. Filled when it is over."""

    at: list[float]
    """When each reply arrived, in seconds."""
    asked: list[int]

    @property
    def longest_gap_s(self) -> float:
        """Between two replies, less the interval at which they are asked for."""
        return max((later - before for before, later in pairwise(self.at)), default=float("inf")) - EVERY_S

    @property
    def unanswered(self) -> int:
        return self.asked[0] - len(self.at)


@contextmanager
def pinged(lab: NamespaceLab, address: str) -> Iterator[Answers]:
    """Asked every 10 ms from the switch; the block begins when the first reply is there."""
    answers = Answers([], [])
    command = lab.switch.command(sys.executable, "-c", ASK, address, str(EVERY_S))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout is not None and asker.stdin is not None
        assert asker.stdout.readline(), "it ended without a reply"
        try:
            yield answers
        finally:
            asker.stdin.close()
            for line in asker.stdout:
                first, second = line.split()
                if first == "asked":
                    answers.asked.append(int(second))
                else:
                    answers.at.append(float(second))
