"""A cluster on loopback: authorities, a kube-apiserver with an aggregator in it, users with their tokens, and kubectl."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml

from app.api.application import create_api
from app.controllers.finalize import Finalize
from app.controllers.guards import namespace_guard
from app.kinds import ALL, NAMESPACE
from app.machinery.kind import CORE
from app.server import listen, listening
from app.settings import Settings
from app.store.base import Store
from app.tls import tls_of
from app.wiring.service import Service, running
from tests.api.builders import make_namespace
from tests.api.conftest import Listener
from tests.api.kubectl import Kubectl
from tests.cluster.aggregator import Aggregator, Registered
from tests.cluster.kube import Kube
from tests.cluster.pki import Authority, Issued, trusting
from tests.cluster.rbac import Caller, Judge, account, binding
from tests.deploy.manifests import ROOT

Document = dict[str, Any]

PROXY = "front-proxy-client"
USERS = {
    "admin": Caller("admin", ("system:masters", "system:authenticated"), "uid-admin"),
    "alice": Caller("alice", ("builders", "system:authenticated"), "uid-alice", {"example.org/team": ["red", "blue"]}),
    "bob": Caller("bob", ("system:authenticated",), "uid-bob"),
    "carol": Caller("carol", ("system:authenticated",), "uid-carol"),
    "drover": account("drover", "drover"),
    "namespaces": account("kube-system", "namespace-controller"),
}
"""By name: alice may edit in the namespace team, bob may look there, carol looks after the hosts."""


def token(user: str) -> str:
    return f"token-of-{user}"


def manifests() -> list[Document]:
    """The roles and bindings that deploy/ gives to Drover and to users."""
    folder = ROOT / "deploy" / "cluster" / "registration"
    texts = [(folder / name).read_text() for name in ("delegation.yaml", "roles.yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text)]


@dataclass
class FrontProxy:
    """The cluster's front proxy: its authority, and the certificate of the day."""

    authority: Authority
    shown: Issued

    @classmethod
    def of(cls, authority: Authority, name: str = PROXY) -> FrontProxy:
        return cls(authority, authority.client(name))


@dataclass
class Cluster:
    """What runs. `serving` is what aggregated servers are trusted by."""

    folder: Path
    kube: Kube
    listener: socket.socket
    serving: Authority
    clients: Authority
    """Of users' own certificates."""
    front: FrontProxy
    authority: Authority
    """Of the kube-apiserver's own certificate."""
    kubectls: list[Kubectl] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.listener.getsockname()[1]}"

    @property
    def registered(self) -> Registered:
        return self.kube.aggregator.registered

    def trust(self, **changed: str) -> dict[str, str]:
        """What the ConfigMap says, as kube-apiserver writes it."""
        return {
            "client-ca-file": self.clients.pem,
            "requestheader-client-ca-file": self.front.authority.pem,
            "requestheader-allowed-names": json.dumps([PROXY]),
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
            **changed,
        }

    def kubeconfig(self, user: str, path: Path) -> Path:
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {
                "server": self.url, "certificate-authority-data": b64encode(self.authority.pem.encode()).decode()}}],
            "users": [{"name": "u", "user": {"token": token(user)}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        }  # fmt: skip
        path.write_text(json.dumps(config))
        return path

    def kubectl(self, user: str) -> Kubectl:
        """With a home of the user's own; its namespace is team."""
        home = self.folder / user
        home.mkdir(exist_ok=True)
        self.kubeconfig(user, home / "config")
        made = Kubectl(home)
        self.kubectls.append(made)
        return made

    def http(self, user: str) -> httpx.AsyncClient:
        """Requests of a user to the kube-apiserver."""
        headers = {"authorization": f"Bearer {token(user)}", "accept": "application/json"}
        return httpx.AsyncClient(base_url=self.url, verify=trusting(self.authority.pem), headers=headers, timeout=10)

    def direct(self, user: str = "", *, shown: Issued | None = None, **headers: str) -> httpx.AsyncClient:
        """Requests to Drover past the kube-apiserver: with a user's token, or a certificate, or nothing."""
        said = {"authorization": f"Bearer {token(user)}"} if user else {}
        return httpx.AsyncClient(
            base_url=self.registered.address,
            verify=_named(trusting(self.serving.pem, shown, self.folder)),
            headers={**said, **headers},
            timeout=10,
        )

    async def available(self, wanted: bool = True) -> None:
        """Waits for the APIService to be so."""
        async with asyncio.timeout(20), self.kube.aggregator.changed:
            await self.kube.aggregator.changed.wait_for(lambda: self.registered.available is wanted)

    async def gathered(self) -> None:
        """Waits for what it offers to be known."""
        async with asyncio.timeout(20):
            while not self.registered.index:  # noqa: ASYNC110  (what it offers comes after the change that is told)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def cluster(store: Store, folder: Path, *, check_s: float = 0.3) -> AsyncIterator[Cluster]:
    """A running cluster with the namespaces default, drover and team, and an APIService that leads nowhere yet."""
    for namespace in ("default", "drover", "team"):
        await make_namespace(store, namespace)
    own = tuple(
        replace(kind, withheld=tuple(v for v in kind.served if v != CORE)) for kind in ALL if CORE in kind.served
    )
    core = create_api(
        store,
        own,
        version="v1.36.0",
        handlers={(NAMESPACE.name, "finalize"): Finalize(store)},
        guards={NAMESPACE.name: namespace_guard},
    )
    serving, authority = Authority("serving"), Authority("kube")
    front = FrontProxy.of(Authority("front-proxy"))
    judge = Judge([*manifests(), binding("edit", "alice", "team"), binding("view", "bob", "team"),
                   binding("kubevirt.io:hosts", "carol")])  # fmt: skip
    registered = Registered("kubevirt.io", "v1alpha1", serving.pem, "https://127.0.0.1:1")

    def shown(pem: str) -> ssl.SSLContext:
        return trusting(pem, made.front.shown, folder)

    listener = socket.create_server(("127.0.0.1", 0))
    kube = Kube(core, judge, {token(name): user for name, user in USERS.items()}, None, {})  # type: ignore[arg-type]  # next
    made = Cluster(folder, kube, listener, serving, Authority("clients"), front, authority)
    kube.aggregator = Aggregator(registered, shown, check_s)
    kube.trust = made.trust()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_listening(kube, listener, authority.server("127.0.0.1"), folder))
        stack.callback(core.end_streams)
        stack.callback(kube.end_watches)
        stack.push_async_callback(kube.aggregator.close)
        checking = asyncio.create_task(kube.aggregator.run())
        stack.push_async_callback(_ended, checking)
        try:
            yield made
        finally:
            for kubectl in made.kubectls:
                await kubectl.stop()


def _named(context: ssl.SSLContext) -> ssl.SSLContext:
    """Whatever the address is: the certificate is for drover.drover.svc, and it is signed by the right one."""
    context.check_hostname = False
    return context


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


@asynccontextmanager
async def _listening(app: Kube, listener: socket.socket, shown: Issued, folder: Path) -> AsyncIterator[None]:
    path = shown.write(folder, "kube")
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", loop="none", http="httptools", ws="none",
        timeout_graceful_shutdown=3, ssl_certfile=path, ssl_keyfile=path,
    )  # fmt: skip
    server = Listener(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(10):
        await server.listens.wait()
    try:
        yield
    finally:
        server.should_exit = True
        async with asyncio.timeout(10):
            await serving
        listener.close()


def trusted_names(names: Sequence[str]) -> str:
    return json.dumps(list(names))


@asynccontextmanager
async def drover(made: Cluster, database_url: str, *, workers: bool = False) -> AsyncIterator[Service]:
    """Drover behind the cluster, as `drover serve --aggregated` runs it; the APIService leads to it."""
    folder = made.folder / "drover"
    folder.mkdir(exist_ok=True)
    issued = made.serving.server("drover.drover.svc")
    (folder / "tls.crt").write_text(issued.certificate)
    (folder / "tls.key").write_text(issued.key)
    settings = Settings(
        aggregated=True,
        kubeconfig=made.kubeconfig("drover", folder / "kubeconfig"),
        database_url=database_url,
        data_dir=folder,
        lab_dir=folder / "lab",
        tls_cert=folder / "tls.crt",
        tls_key=folder / "tls.key",
    )
    tls = tls_of(settings)
    assert tls is not None
    listener = listen("127.0.0.1", 0)
    made.registered.address = f"https://127.0.0.1:{listener.getsockname()[1]}"
    async with running(settings, workers=workers, trust=tls.trust, renewed=tls.renew) as service:
        async with asyncio.timeout(20):
            await service.ready.wait()
        async with listening(service, listener, tls):
            yield service
