"""The host's own word on a guest, asked just before the host is used; what it said is remembered for a while."""

from __future__ import annotations

import asyncio
import posixpath
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.controllers.hosts import Hosts
from app.controllers.placement.filters import not_reached
from app.controllers.placement.nodes import peer_uri
from app.hypervisor.base import (
    Candidate,
    DomainExists,
    Hypervisor,
    HypervisorError,
    Incompatible,
    PeerRefused,
    Unreachable,
)
from app.kinds import NODE
from app.kinds.virtualmachine import VMDisk
from app.machinery.objects import Document

NAME_TAKEN = "node(s) already have a domain of that name"
SILENT = "node(s) did not answer"

GOOD_S = 5.0
"""How long a yes stands: the host is used at once, or asked again."""
BAD_S = 60.0
"""How long a no stands: by then a name may be free, or a CPU another."""
SILENT_S = 10.0
WAY_S = 600.0
"""How long a host that was reached from another is believed to be reached."""
SPARE = 64 * 2**20
"""Bytes that stay free beside the guest's disks: for what the guest writes meanwhile, and for the file system's own."""


@dataclass(frozen=True, slots=True)
class Question:
    """Whether that node's host would take that guest."""

    guest: Candidate
    node: Document
    origin: Document | None = None
    """The node that it leaves."""
    disks: tuple[VMDisk, ...] = ()
    """Those that the node would be given, unless it has them."""

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
        self._ways: dict[tuple[str, str], float] = {}
        """Nodes, and the URIs of others that their hosts reach: until when that is believed."""

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
                host = await self._hosts.of(NODE.read(question.node))
                await host.judge(question.guest)
                if crowded := await self._crowded(question, host):
                    return crowded, BAD_S
        except Incompatible as error:
            return f"node(s) can't give the guest its CPU ({error.text})", BAD_S
        except DomainExists:
            return NAME_TAKEN, BAD_S
        except (Unreachable, TimeoutError):
            return SILENT, SILENT_S
        except HypervisorError as error:
            return f"node(s) could not judge the guest ({error.text})", SILENT_S
        return await self._way(question)

    async def _way(self, question: Question) -> tuple[str, float]:
        """Whether the guest's own host reaches that one; once it did, that is not asked again for every guest."""
        if question.origin is None:
            return "", GOOD_S
        way = str(question.origin["metadata"]["name"]), peer_uri(question.node)
        if self._ways.get(way, float("-inf")) > self._clock():
            return "", GOOD_S
        try:
            await (await self._hosts.of(NODE.read(question.origin))).reach(way[1])
        except PeerRefused as error:
            return not_reached(error.text), BAD_S
        except TimeoutError:
            return not_reached("no answer"), BAD_S
        except HypervisorError:
            return "", GOOD_S  # what is wrong with the origin speaks against no target
        self._ways[way] = self._clock() + WAY_S
        return "", GOOD_S

    async def _crowded(self, question: Question, host: Hypervisor) -> str:
        """Where the host has too little room for the disks; empty where it has enough, or does not tell."""
        if not question.disks or question.origin is None:
            return ""
        try:
            sizes = await _sizes(await self._hosts.of(NODE.read(question.origin)), question)
        except HypervisorError:
            return ""  # what is wrong with the origin speaks against no target
        wanted: Counter[str] = Counter()
        for disk in question.disks:
            # One that is there already is shared, as libvirt may know, or the same: or it is copied after all.
            if await host.find_file(disk.path) is None:
                wanted[posixpath.dirname(disk.path)] += sizes.get(disk.target, 0)
        for folder, size in wanted.items():
            free = await host.free_space(f"{folder}/")
            if free is not None and free < size + SPARE:
                return f"node(s) have no room for {_gib(size)} of the guest's disks in {folder} ({_gib(free)} free)"
        return ""


async def _sizes(origin: Hypervisor, question: Question) -> Mapping[str, int]:
    sizes = dict(await origin.disk_usage(question.guest.uuid))
    for disk in question.disks:
        if disk.read_only:
            sizes[disk.target] = await origin.find_file(disk.path) or 0
    return sizes


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
