"""The ways from one host to the others: each is asked before a guest takes it, and again from time to time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from app.controllers.config import HostConfig
from app.controllers.placement.nodes import is_ready, peer_uri
from app.controllers.tools import Tools
from app.hypervisor.base import Hypervisor, HypervisorError, PeerRefused, Unreachable
from app.kinds import NODE
from app.machinery.objects import Document
from app.store.base import Scope, StoreError

log = structlog.get_logger()

SILENT = "no answer"
LATE_AT_ONCE = 3
"""A libvirtd has five workers when it starts, and twenty at most (libvirtd.conf: min_workers, max_workers)."""


@dataclass(frozen=True, slots=True)
class _Way:
    """What was learned of one."""

    uri: str
    problem: str | None
    """libvirt's words; empty where the other host is reached, None where that could not be told."""
    due_at: float


class Peers:
    """
    Of one Node's host, for as long as it is served here. One way is asked after another. A silent peer holds a worker of this
    host's libvirtd until TCP gives up, and is not asked a second time before that: its answer, which comes as soon as the
    network is mended and TCP tries again, still counts. Of such there are never more than LATE_AT_ONCE.
    """

    def __init__(
        self,
        name: str,
        tools: Tools,
        connection: Callable[[], Hypervisor | None],
        changed: Callable[[], None],
        config: HostConfig,
    ) -> None:
        self._name = name
        self._tools = tools
        self._connection = connection
        self._changed = changed
        self._config = config
        self._ways: dict[str, _Way] = {}
        self._late: dict[str, asyncio.Task[None]] = {}
        """Questions whose answers are still waited for, by the peer's name."""

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._config.peer_look_s)
                try:
                    await self._round()
                except StoreError as error:
                    log.warning("peers not asked", node=self._name, error=str(error))
        finally:
            await _dropped(*self._late.values())

    @property
    def unreachable(self) -> Mapping[str, str]:
        """Other Nodes by name, and libvirt's words."""
        return {name: way.problem for name, way in sorted(self._ways.items()) if way.problem}

    @property
    def asked(self) -> int:
        """How many of the others are known to be reached, or not."""
        return sum(way.problem is not None for way in self._ways.values())

    async def _round(self) -> None:
        if self._connection() is None:
            return
        nodes = (await self._tools.store.objects.list(Scope(NODE.resource))).items
        others = {stored.key.name: stored.document for stored in nodes if self._counts(stored.document)}
        before = self._told
        # Of a node that is away its own condition tells.
        self._ways = {name: way for name, way in self._ways.items() if _leads_to(way, others.get(name))}
        await self._listen()
        for name in sorted(others.keys() - self._late.keys(), key=self._due_at):
            host = self._connection()
            if host is None or len(self._late) >= LATE_AT_ONCE:
                break
            if self._due_at(name) <= self._tools.clock():
                self._ways[name] = await self._ask(host, name, peer_uri(others[name]))
                if self._told != before:
                    before = self._told
                    self._changed()
                await asyncio.sleep(self._config.peer_pause_s)
        if self._told != before:
            self._changed()

    @property
    def _told(self) -> tuple[Mapping[str, str], int]:
        return self.unreachable, self.asked

    def _counts(self, node: Document) -> bool:
        return node["metadata"]["name"] != self._name and is_ready(node) and bool(peer_uri(node))

    def _due_at(self, name: str) -> float:
        """Who was never asked comes first."""
        way = self._ways.get(name)
        return float("-inf") if way is None else way.due_at

    async def _listen(self) -> None:
        """To the answers that have come late. Who asks about a way that is no more is not waited for."""
        await _dropped(*(self._late.pop(name) for name in self._late.keys() - self._ways.keys()))
        for name in [name for name, question in self._late.items() if question.done()]:
            self._ways[name] = self._answer(self._late.pop(name), self._ways[name].uri)

    async def _ask(self, host: Hypervisor, name: str, uri: str) -> _Way:
        question = asyncio.ensure_future(host.reach(uri, patient=True))
        try:
            done, _ = await asyncio.wait((question,), timeout=self._config.peer_answer_s)
        except asyncio.CancelledError:
            await _dropped(question)
            raise
        if done:
            return self._answer(question, uri)
        self._late[name] = question
        return _Way(uri, SILENT, self._tools.clock())

    def _answer(self, question: asyncio.Task[None], uri: str) -> _Way:
        now = self._tools.clock()
        try:
            question.result()
        except PeerRefused as error:
            return _Way(uri, error.text, now + self._config.peer_bad_s)
        except TimeoutError:
            return _Way(uri, SILENT, now + self._config.peer_bad_s)
        except Unreachable:
            return _Way(uri, None, now)
        except HypervisorError as error:
            log.info("no telling whether a peer is reached", node=self._name, peer=uri, error=error.text)
            return _Way(uri, None, now + self._config.peer_good_s)
        return _Way(uri, "", now + self._config.peer_good_s)


async def _dropped(*questions: asyncio.Task[None]) -> None:
    """Nobody waits for their answers any more."""
    for question in questions:
        question.cancel()
    await asyncio.gather(*questions, return_exceptions=True)


def _leads_to(way: _Way, node: Document | None) -> bool:
    return node is not None and way.uri == peer_uri(node)
