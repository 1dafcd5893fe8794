"""Guests whose writing changes with time, drawn from a seed: what the rules of steering are tried on."""

from __future__ import annotations

import random
from dataclasses import dataclass

from benchmarks.rivals.rule import Allowed

MIB, GIB = 1 << 20, 1 << 30
MAX_DOWNTIME_MS = 500
"""Nova's own default and the last of VDSM's steps: the same for everyone."""
ALLOWED = {"nothing": (False, False), "disruption": (False, True), "post-copy": (True, False)}


@dataclass(frozen=True, slots=True)
class Spell:
    """For so many seconds the guest writes so many bytes per second; what it writes to is never more than its working set."""

    seconds: float
    dirty_rate: float
    working_set: float


@dataclass(frozen=True, slots=True)
class Trace:
    """A guest, a link and what is allowed. Bytes, and bytes per second. Spells go round."""

    name: str
    memory: int
    link: int
    spells: tuple[Spell, ...]
    cap: int | None = None
    allowed: str = "nothing"

    def spell(self, at_s: float) -> tuple[Spell, float]:
        """How it writes then, and until when."""
        round_s = sum(spell.seconds for spell in self.spells)
        ends_s = at_s // round_s * round_s
        for spell in self.spells:
            ends_s += spell.seconds
            if at_s < ends_s:
                return spell, ends_s
        return self.spells[0], ends_s + self.spells[0].seconds

    @property
    def rules(self) -> Allowed:
        post_copy, disruption = ALLOWED[self.allowed]
        return Allowed(self.memory, MAX_DOWNTIME_MS, post_copy=post_copy, disruption=disruption, bandwidth=self.cap)


def traces(drawn: random.Random, count: int) -> list[Trace]:
    """Of every kind in turn, each with something drawn that is allowed."""
    kinds = (idle, steady, hot, bursty, phased, too_fast, capped)
    return [kinds[number % len(kinds)](drawn) for number in range(count)]


def _guest(drawn: random.Random) -> tuple[int, int, str]:
    memory = drawn.choice((1, 2, 4, 8, 16)) * GIB
    return memory, drawn.randint(100, 2400) * MIB, drawn.choice(tuple(ALLOWED))


def idle(drawn: random.Random) -> Trace:
    memory, link, allowed = _guest(drawn)
    return Trace("idle", memory, link, (Spell(60, drawn.uniform(0, 0.02) * link, 0.02 * memory),), None, allowed)


def steady(drawn: random.Random) -> Trace:
    """Slower than the link, all over its memory."""
    memory, link, allowed = _guest(drawn)
    spell = Spell(60, drawn.uniform(0.1, 0.9) * link, drawn.uniform(0.2, 0.8) * memory)
    return Trace("steady", memory, link, (spell,), None, allowed)


def hot(drawn: random.Random) -> Trace:
    """A part that the link sends within the allowed downtime is written over and over."""
    memory, link, allowed = _guest(drawn)
    spell = Spell(60, drawn.uniform(1, 5) * link, drawn.uniform(0.05, 0.45) * link)
    return Trace("hot", memory, link, (spell,), None, allowed)


def bursty(drawn: random.Random) -> Trace:
    memory, link, allowed = _guest(drawn)
    return Trace("bursty", memory, link, _spells(drawn, memory, link, (3, 30)), None, allowed)


def phased(drawn: random.Random) -> Trace:
    """As bursts, but minutes long."""
    memory, link, allowed = _guest(drawn)
    return Trace("phased", memory, link, _spells(drawn, memory, link, (30, 300)), None, allowed)


def _spells(drawn: random.Random, memory: int, link: int, seconds: tuple[float, float]) -> tuple[Spell, ...]:
    return tuple(
        Spell(drawn.uniform(*seconds), drawn.choice((0.05, 0.3, 1.5)) * link, drawn.uniform(0.1, 0.7) * memory)
        for _ in range(6)
    )


def too_fast(drawn: random.Random) -> Trace:
    """Faster than the link, and more than can be sent while it is stopped for as long as is allowed."""
    memory, link, allowed = _guest(drawn)
    working_set = min(0.95 * memory, max(link, drawn.uniform(0.3, 0.9) * memory))
    return Trace("too fast", memory, link, (Spell(60, drawn.uniform(1.2, 4) * link, working_set),), None, allowed)


def capped(drawn: random.Random) -> Trace:
    """Ordinary writing, and a cap below what the link carries."""
    memory, link, allowed = _guest(drawn)
    cap = int(drawn.uniform(0.1, 0.6) * link)
    spell = Spell(60, drawn.uniform(0.1, 2) * cap, drawn.uniform(0.05, 0.45) * link)
    return Trace("capped", memory, link, (spell,), cap, allowed)
