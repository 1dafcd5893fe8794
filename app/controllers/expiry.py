"""Until when the certificates on the way to one host count: looked at from time to time, also while it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from app.controllers.config import HostConfig
from app.controllers.placement.nodes import credentials_of
from app.controllers.tools import Tools
from app.hypervisor.base import Certificate, HypervisorError, Hypervisors
from app.kinds import NODE
from app.store.base import Key, NotFound, StoreError

log = structlog.get_logger()


class Expiry:
    """Of one Node's host, for as long as it is served here."""

    def __init__(
        self, name: str, tools: Tools, hypervisors: Hypervisors, changed: Callable[[], None], config: HostConfig
    ) -> None:
        self._name = name
        self._key = Key(NODE.resource, "", name)
        self._tools = tools
        self._hypervisors = hypervisors
        self._changed = changed
        self._config = config
        self.certificates: Sequence[Certificate] = ()
        """What was seen last."""

    async def run(self) -> None:
        """Until cancelled; then it is told no more."""
        try:
            while True:
                seen = await self._look()
                await asyncio.sleep(self._config.expiry_s if seen else self._config.expiry_again_s)
        finally:
            self._tools.hosts.forget(self._name)

    async def _look(self) -> bool:
        """What was seen before stands where nothing is seen now."""
        try:
            node = (await self._tools.store.objects.get(self._key)).document
            uri = str((node.get("spec") or {}).get("providerID") or "")
            seen = await self._hypervisors.certificates(uri, credentials_of(node))
        except (NotFound, StoreError):
            return False
        except HypervisorError as error:
            log.info("certificates not seen", node=self._name, error=error.text)
            return False
        if seen != self.certificates:
            self.certificates = seen
            self._tools.hosts.certificates(self._name, seen)
            self._changed()
        return True
