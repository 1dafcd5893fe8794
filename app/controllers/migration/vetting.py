"""The host's own word on a guest, asked just before the host is used; what it said is remembered for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.controllers.hosts import Hosts
from app.hypervisor.base import Candidate, DomainExists, HypervisorError, Incompatible, Unreachable
from app.kinds import NODE
from app.machinery.objects import Document

NAME_TAKEN = "node(s) already have a domain of that name"
SILENT = "node(s) did not answer"

GOOD_S = 5.0
"""How long a yes stands: the host is used at once, or asked again."""
BAD_S = 60.0
"""How long a no stands: by then a name may be free, or a CPU another."""
SILENT_S = 10.0


@dataclass(frozen=True, slots=True)
class Question:
    """Whether that node's host would take that guest."""

    guest: Candidate
    node: Document

    @property
    def subject(self) -> tuple[str, str]:
        return str(self.guest.uuid), str(self.node["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class _Word:
    """What a host said: an empty reason is a yes."""

    reason: str
    until: float


class Vetting:
    """One process's. Forgotten with it: then hosts are asked again."""

    def __init__(self, hosts: Hosts, *, deadline_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._hosts = hosts
        self._deadline_s = deadline_s
        self._clock = clock
        self._words: dict[tuple[str, str], _Word] = {}

    def doubts(self, guest: str) -> Mapping[str, str]:
        """The nodes whose hosts said no to that guest (libvirt's UUID of it), and why."""
        now = self._clock()
        self._words = {subject: word for subject, word in self._words.items() if word.until > now}
        return {node: word.reason for (uid, node), word in self._words.items() if uid == guest and word.reason}

    def vouches(self, guest: str, node: str) -> bool:
        """Whether the host said yes a moment ago."""
        word = self._words.get((guest, node))
        return word is not None and not word.reason and word.until > self._clock()

    async def ask(self, question: Question) -> None:
        """Remembers the answer; a host that does not answer within the deadline is out for a while."""
        reason, stands_s = await self._answer(question)
        self._words[question.subject] = _Word(reason, self._clock() + stands_s)

    async def close(self) -> None:
        await self._hosts.close()

    async def _answer(self, question: Question) -> tuple[str, float]:
        try:
            async with asyncio.timeout(self._deadline_s):
                await (await self._hosts.of(NODE.read(question.node))).judge(question.guest)
        except Incompatible as error:
            return f"node(s) can't give the guest its CPU ({error.text})", BAD_S
        except DomainExists:
            return NAME_TAKEN, BAD_S
        except (Unreachable, TimeoutError):
            return SILENT, SILENT_S
        except HypervisorError as error:
            return f"node(s) could not judge the guest ({error.text})", SILENT_S
        return "", GOOD_S
