"""The API over a real store: in process for requests with one answer, behind a real uvicorn for streams and kubectl."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
import uvloop

from app.api.application import Api, create_api
from app.kinds import ALL
from app.kubeconfig import Way
from app.server import listen, listening, url_of
from app.store.base import Store
from app.tls import Own, Tls
from app.wiring.service import Service
from tests.api.builders import make_namespace
from tests.api.kubectl import Kubectl


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """The loop of the real service."""
    policy: asyncio.AbstractEventLoopPolicy = uvloop.EventLoopPolicy()
    return policy


@pytest.fixture
async def api(store: Store) -> Api:
    """The API for every kind, over a store with the namespace `default`."""
    await make_namespace(store, "default")
    return create_api(store, ALL, version="v1.36.0+drover-test")


@pytest.fixture
async def client(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Requests without a network in between."""
    transport = httpx.ASGITransport(app=api)
    headers = {"user-agent": "tests/1"}
    async with httpx.AsyncClient(transport=transport, base_url="http://drover", headers=headers) as opened:
        yield opened


class Listener(uvicorn.Server):
    """uvicorn without its signal handlers, telling when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture
async def url(api: Api) -> AsyncIterator[str]:
    """The address of a real server on a free port, stopped as the service stops it."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        api, log_config=None, access_log=False, lifespan="off", loop="none", http="httptools", ws="none",
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = Listener(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(10):
        await server.listens.wait()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    api.end_streams()
    server.should_exit = True
    async with asyncio.timeout(10):
        await serving
    listener.close()


@pytest.fixture
async def remote(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Requests over a real connection."""
    async with httpx.AsyncClient(base_url=url, headers={"user-agent": "tests/1"}, timeout=10) as opened:
        yield opened


@pytest.fixture
async def kubectl(url: str, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """kubectl with a home of its own, so that nobody else's cached discovery answers."""
    made = Kubectl.at(url, tmp_path)
    yield made
    await made.stop()


@pytest.fixture
async def kubeconfig(api: Api, tmp_path: Path) -> AsyncIterator[Path]:
    """A real server over TLS with certificates of its own, as the kubeconfig that Drover prints names it."""
    tls = Tls(Own(tmp_path, "127.0.0.1"))
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    printed = tmp_path / "kubeconfig"
    # kubectl asks the person for a name unless it finds a credential; everybody is the administrator here.
    Way(url_of("127.0.0.1", port, secure=True), tls.authority, token="anyone").write(printed)
    async with listening(Service(api, asyncio.Event(), api.end_streams), listener, tls):
        yield printed
