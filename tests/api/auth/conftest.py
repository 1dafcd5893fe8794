"""A whole Drover that asks everybody who they are: TLS, roles, tokens and a front proxy, as `drover serve` wires it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from app.certificates import Pair, make_client
from app.kubeconfig import Way
from app.lab.registration import trust
from app.server import listen, listening, url_of
from app.settings import Settings
from app.tls import tls_of, way_of
from app.wiring.service import running
from tests.api.auth.people import CLIENTS, NOW, PROXIES
from tests.api.kubectl import Kubectl

TOKENS = """\
root,root,0,"system:masters"
jane,jane,1,"movers"
joe,joe,2
ann,ann,3
"""


@dataclass
class Drover:
    """One that runs, and its callers."""

    way: Way
    """The administrator's."""
    folder: Path
    stack: AsyncExitStack
    clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    @property
    def root(self) -> httpx.AsyncClient:
        return self.by_token("root")

    def by_token(self, token: str) -> httpx.AsyncClient:
        """Somebody with a token; "" brings nothing."""
        return self._client(f"token {token}", Way(self.way.server, self.way.authority, token=token))

    def by_certificate(
        self,
        authority: Pair,
        name: str,
        *groups: str,
        lasts: timedelta = timedelta(days=1),
        age: timedelta = timedelta(),
    ) -> httpx.AsyncClient:
        pair = make_client(authority, name, *groups, now=NOW - age, lasts=lasts)
        path = self.folder / "client.pem"
        pair.write(path)
        way = Way(self.way.server, self.way.authority, certificate=path.read_text())
        return self._client(f"certificate {pair.certificate.serial_number}", way)

    def _client(self, who: str, way: Way) -> httpx.AsyncClient:
        if who not in self.clients:
            headers = {"Authorization": f"Bearer {way.token}"} if way.token else {}
            self.clients[who] = httpx.AsyncClient(base_url=way.server, verify=trust(way), headers=headers, timeout=10)
            self.stack.push_async_callback(self.clients[who].aclose)
        return self.clients[who]

    def kubectl(self, token: str) -> Kubectl:
        home = self.folder / f"home-{token[-20:]}"
        Way(self.way.server, self.way.authority, token=token).write(home / "config")
        made = Kubectl(home)
        self.stack.push_async_callback(made.stop)
        return made


def settings(folder: Path, database_url: str) -> Settings:
    (folder / "tokens.csv").write_text(TOKENS)
    (folder / "clients.pem").write_bytes(CLIENTS.public())
    (folder / "proxies.pem").write_bytes(PROXIES.public())
    return Settings(
        database_url=database_url,
        data_dir=folder / "data",
        token_auth_file=folder / "tokens.csv",
        client_ca=folder / "clients.pem",
        requestheader_client_ca=folder / "proxies.pem",
        requestheader_allowed_names=("front",),
    )


@pytest.fixture
async def drover(postgres_url: str, tmp_path: Path) -> AsyncIterator[Drover]:
    """Without workers. Its store can be looked into by the `store` of the same test."""
    chosen = settings(tmp_path, postgres_url)
    tls = tls_of(chosen)
    assert tls is not None
    listener = listen("127.0.0.1", 0)
    way = way_of(url_of("127.0.0.1", listener.getsockname()[1], secure=True), tls)
    async with (
        running(chosen, workers=False, trust=tls.trust) as service,
        listening(service, listener, tls),
        AsyncExitStack() as stack,
    ):
        yield Drover(way, tmp_path, stack)


async def until(answers: httpx.AsyncClient, path: str, code: int) -> None:
    """Roles count a moment after they were written."""
    async with asyncio.timeout(10):
        while (await answers.get(path)).status_code != code:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.01)
