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


@dataclass(frozen=True, slots=True)
class _Way:
    """What was learned of one."""

    uri: str
    problem: str | None
    """libvirt's words; empty where the other host is reached, None where that could not be told."""
    due_at: float


class Peers:
    """
    Of one Node's host, for as long as it is served here. Ways are asked one after the other, never two at once: a silent peer
    holds a worker of this host's libvirtd until TCP gives up.
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

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._config.peer_look_s)
            try:
                await self._round()
            except StoreError as error:
                log.warning("peers not asked", node=self._name, error=str(error))

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
        before = self.unreachable, self.asked
        # Of a node that is away its own condition tells.
        self._ways = {name: way for name, way in self._ways.items() if _leads_to(way, others.get(name))}
        for name, node in others.items():
            host = self._connection()
            if host is None:
                return
            way = self._ways.get(name)
            if way is None or way.due_at <= self._tools.clock():
                self._ways[name] = await self._ask(host, node)
                if (now := (self.unreachable, self.asked)) != before:
                    before = now
                    self._changed()
                await asyncio.sleep(self._config.peer_pause_s)
        if (self.unreachable, self.asked) != before:
            self._changed()

    def _counts(self, node: Document) -> bool:
        return node["metadata"]["name"] != self._name and is_ready(node) and bool(peer_uri(node))

    async def _ask(self, host: Hypervisor, node: Document) -> _Way:
        uri, now = peer_uri(node), self._tools.clock()
        try:
            await host.reach(uri)
        except PeerRefused as error:
            return _Way(uri, error.text, now + self._config.peer_bad_s)
        except TimeoutError:
            return _Way(uri, SILENT, now + self._config.peer_silent_s)
        except Unreachable:
            return _Way(uri, None, now)
        except HypervisorError as error:
            log.info("no telling whether a peer is reached", node=self._name, peer=uri, error=error.text)
            return _Way(uri, None, now + self._config.peer_good_s)
        return _Way(uri, "", now + self._config.peer_good_s)


def _leads_to(way: _Way, node: Document | None) -> bool:
    return node is not None and way.uri == peer_uri(node)
