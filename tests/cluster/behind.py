"""Drover behind a real cluster: `python -m tests.cluster.behind KUBECONFIG ADDRESS`.

Registers a Drover that runs on this machine, outside the cluster, as README says; asks it through the cluster with kubectl, as
its administrator and as others; stops and starts it; and takes everything away again. KUBECONFIG is an administrator's, ADDRESS
one of this machine that the cluster's API server reaches: loopback is refused by Kubernetes. A cluster that has `kubevirt.io`
already is left alone. What its controllers do (roles that are put together, namespaces that go) is not waited for: a bare API
server will do, once.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.server import listen
from app.store.embedded import EmbeddedPostgres
from tests.api.kubectl import Kubectl

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).parent / "drover"
SERVICE = "v1alpha1.kubevirt.io"
GROUP = "/apis/kubevirt.io/v1alpha1"
ROOMS = tuple(f"drover-check-{secrets.token_hex(2)}-{letter}" for letter in "ab")
"""Of this run: without a controller for namespaces nobody empties those of an earlier one."""
WAIT_S = 90.0
"""For the cluster to find out that Drover is there, or not: it looks every 30 s."""


def migration(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "Migration",
        "metadata": {"name": name},
        "spec": {"selector": {"name": "nobody"}},
    }


@dataclass
class Behind:
    """The cluster, and the Drover that is registered with it."""

    kubectl: Kubectl
    folder: Path
    address: str
    port: int
    database_url: str
    process: Process | None = field(default=None)

    async def register(self) -> None:
        """README's steps, with this machine's address and a free port."""
        overlay = self.folder / "deploy" / "cluster" / "overlays" / "outside"
        shutil.copytree(ROOT / "deploy" / "cluster", self.folder / "deploy" / "cluster")
        for name in ("endpoints.yaml", "service.yaml"):
            text = (overlay / name).read_text()
            (overlay / name).write_text(text.replace("192.0.2.10", self.address).replace("8443", str(self.port)))
        await _run(str(PROGRAM), "certificate", "--dir", str(overlay / "tls"))
        await self.kubectl("apply", "-k", str(overlay))
        token = await self.kubectl("create", "token", "drover", "-n", "drover", "--duration=1h")
        (self.folder / "token").write_text(token)
        whole = yaml.safe_load(await self.kubectl("config", "view", "--raw", "--flatten", "--minify"))
        whole["users"][0]["user"] = {"tokenFile": str(self.folder / "token")}
        (self.folder / "drover.kubeconfig").write_text(yaml.safe_dump(whole))

    async def start(self) -> None:
        tls = self.folder / "deploy" / "cluster" / "overlays" / "outside" / "tls"
        environment = {
            **os.environ,
            "DROVER_DATABASE_URL": self.database_url,
            "DROVER_TLS_CERT": str(tls / "tls.crt"),
            "DROVER_TLS_KEY": str(tls / "tls.key"),
            "DROVER_DATA_DIR": str(self.folder / "data"),
        }
        flags = ("--aggregated", "--bind", self.address, "--port", str(self.port))
        log = (self.folder / "drover.log").open("ab")
        try:
            self.process = await asyncio.create_subprocess_exec(
                PROGRAM, "serve", *flags, "--kubeconfig", str(self.folder / "drover.kubeconfig"),
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        finally:
            log.close()

    async def stop(self) -> None:
        """May be called twice."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            async with asyncio.timeout(60):
                await self.process.wait()

    async def until(self, available: str) -> str:
        """Until the APIService is so (True or False); why."""
        started = time.monotonic()
        while time.monotonic() - started < WAIT_S:
            found = await self.kubectl.json("get", "apiservice", SERVICE)
            for condition in (found.get("status") or {}).get("conditions") or ():
                if (condition["type"], condition["status"]) == ("Available", available):
                    return f"{condition['reason']} after {time.monotonic() - started:.0f} s"
            await asyncio.sleep(1)
        log = (self.folder / "drover.log").read_text()[-2000:]
        raise AssertionError(f"the APIService did not become Available={available}; Drover's log ends:\n{log}")

    async def remove(self) -> None:
        """Everything that was made."""
        overlay = self.folder / "deploy" / "cluster" / "overlays" / "outside"
        await self.kubectl.run("delete", "migrations.kubevirt.io", "--all", "-A", "--timeout=20s")
        await self.kubectl.run("delete", "-k", str(overlay), "--wait=false", "--ignore-not-found")
        await self.kubectl.run("delete", "namespace", *ROOMS, "--wait=false", "--ignore-not-found")


async def _run(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(*words)
    async with asyncio.timeout(60):
        assert await process.wait() == 0, " ".join(words)


async def discovery(behind: Behind) -> None:
    """Our resources, their explanations, and one merged OpenAPI of either version."""
    names = await behind.kubectl("api-resources", "--api-group=kubevirt.io", "-o", "name")
    kinds = {"migrationpolicies", "migrations", "nodes", "pods", "virtualmachines"}
    assert {name.partition(".")[0] for name in names.split()} == kinds
    for version in ((), ("--output=plaintext-openapiv2",)):
        assert "selector" in await behind.kubectl("explain", "migration.spec", *version)
    index = json.loads(await behind.kubectl("get", "--raw", "/openapi/v3"))
    assert "apis/kubevirt.io/v1alpha1" in index["paths"]
    swagger = json.loads(await behind.kubectl("get", "--raw", "/openapi/v2"))
    claimed = [
        (kind["group"], kind["version"], kind["kind"])
        for schema in swagger["definitions"].values()
        for kind in schema.get("x-kubernetes-group-version-kind", ())
    ]
    assert len(claimed) == len(set(claimed)), "two shapes of one kind"
    assert f"{GROUP}/namespaces/{{namespace}}/migrations" in swagger["paths"]


async def verbs(behind: Behind) -> None:
    """kubectl's verbs, in a namespace of the cluster's."""
    kubectl, room = behind.kubectl, ("-n", ROOMS[0])
    watching = await kubectl.start("get", "migrations", "-w", *room)
    await kubectl("create", "-f", "-", *room, given=migration("m"))
    assert watching.stdout is not None
    async with asyncio.timeout(20):
        while b"m " not in await watching.stdout.readline():
            continue
    await kubectl("wait", "migration/m", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s", *room)
    assert "VMNotFound" in await kubectl("get", "migrations", "-o", "wide", *room)
    await kubectl("label", "migration", "m", "a=b", *room)
    await kubectl("patch", "migration", "m", "--type=merge", "-p", '{"metadata":{"labels":{"c":"d"}}}', *room)
    await kubectl("apply", "--server-side", "-f", "-", *room, given=migration("applied"))
    await kubectl("apply", "-f", "-", *room, given=migration("client"))
    await kubectl("apply", "-f", "-", *room, given=migration("client"))
    assert "unknown field" in await kubectl("create", "-f", "-", *room, given=migration("x") | {"bogus": 1}, code=1)
    assert "not found" in await kubectl("create", "-f", "-", "-n", "drover-check-none", given=migration("x"), code=1)
    for _ in range(30):
        events = await kubectl("get", "events", *room)
        if "VMNotFound" in events:
            break
        await asyncio.sleep(0.5)
    assert "VMNotFound" in events, "no Event in the cluster"
    assert "not found" in await kubectl("get", "--raw", f"{GROUP}/namespaces/{ROOMS[0]}/pods/x/log", code=1)
    await kubectl("delete", "migrations", "--all", "--timeout=30s", *room)
    assert "No resources" in await kubectl("get", "migrations", *room)


async def rights(behind: Behind) -> None:
    """The cluster's roles decide, also for who is impersonated and for service accounts."""
    kubectl, a, b = behind.kubectl, *ROOMS
    await kubectl("create", "role", "mover", "-n", a, "--verb=*", "--resource=migrations.kubevirt.io")
    await kubectl("create", "rolebinding", "mover", "-n", a, "--role=mover", "--user=alice")
    await kubectl(
        "create", "rolebinding", "look", "-n", a, "--clusterrole=kubevirt.io:view", f"--serviceaccount={a}:robot"
    )
    await kubectl("create", "serviceaccount", "robot", "-n", a)
    robot = f"--as=system:serviceaccount:{a}:robot"
    for _ in range(30):  # the cluster's roles count a moment later
        if (await kubectl.run("get", "migrations", "-n", a, "--as=alice"))[1] == 0:
            break
        await asyncio.sleep(0.5)
    await kubectl("create", "-f", "-", "-n", a, "--as=alice", given=migration("hers"))
    await kubectl("get", "migrations", "-n", a, robot)
    assert "yes" in await kubectl("auth", "can-i", "create", "migrations.kubevirt.io", "-n", a, "--as=alice")
    for words in (
        ("create", "-f", "-", "-n", b, "--as=alice"),
        ("create", "-f", "-", "-n", a, robot),
        ("get", "nodes.kubevirt.io", "--as=alice"),
        ("get", "migrations", "-A", "--as=alice"),
    ):
        said = await kubectl(*words, given=migration("not"), code=1)
        assert "forbidden" in said.lower(), said
    await kubectl("delete", "migration", "hers", "-n", a, "--as=alice", "--timeout=30s")


async def namespaces(behind: Behind) -> None:
    """In one that terminates nothing is made, and its content goes by deletecollection."""
    kubectl, room = behind.kubectl, ROOMS[1]
    await kubectl("create", "-f", "-", "-n", room, given=migration("left"))
    await kubectl("delete", "namespace", room, "--wait=false")
    said = await kubectl("create", "-f", "-", "-n", room, given=migration("late"), code=1)
    assert "being terminated" in said or "not found" in said, said
    await kubectl.run("delete", "--raw", f"{GROUP}/namespaces/{room}/migrations")
    assert "left" not in await kubectl("get", "migrations", "-n", room, "--ignore-not-found")


async def away(behind: Behind) -> None:
    """Without Drover only its own group is away, and it comes back."""
    await behind.stop()
    print(f"  not available: {await behind.until('False')}")
    assert "unable to handle" in await behind.kubectl("get", "migrations", "-A", code=1)
    await behind.kubectl("get", "namespaces")
    assert "namespaces" in (await behind.kubectl.run("api-resources"))[0]
    await behind.start()
    print(f"  available: {await behind.until('True')}")
    await behind.kubectl("get", "migrations", "-A")


Check = Callable[[Behind], Awaitable[None]]
CHECKS: tuple[Check, ...] = (discovery, verbs, rights, namespaces, away)


def _folder(kubeconfig: Path) -> Path:
    """One of our own, with that file as kubectl's."""
    folder = Path(tempfile.mkdtemp(prefix="drover-b-"))
    folder.chmod(0o711)  # the database's own user goes through it
    (folder / "home").mkdir()
    shutil.copy(kubeconfig, folder / "home" / "config")
    return folder


@asynccontextmanager
async def registered(kubeconfig: Path, address: str) -> AsyncIterator[Behind]:
    """A Drover behind that cluster; everything is taken away afterwards."""
    async with AsyncExitStack() as stack:
        folder = _folder(kubeconfig)
        stack.callback(shutil.rmtree, folder)
        kubectl = Kubectl(folder / "home")
        stack.push_async_callback(kubectl.stop)
        there, code = await kubectl.run("get", "apiservice", SERVICE, "-o", "name")
        if code == 0:
            raise SystemExit(f"that cluster has {there.strip()} already: it is left alone")
        database = EmbeddedPostgres(folder / "data")
        stack.push_async_callback(database.stop)
        listener = listen(address, 0)
        port = listener.getsockname()[1]
        listener.close()
        made = Behind(kubectl, folder, address, port, await database.start())
        stack.push_async_callback(made.stop)
        stack.push_async_callback(made.remove)
        await made.register()
        await made.start()
        yield made


async def main(kubeconfig: Path, address: str) -> None:
    async with registered(kubeconfig, address) as behind:
        print(f"available: {await behind.until('True')}", flush=True)
        for room in ROOMS:
            await behind.kubectl("create", "namespace", room)
        for check in CHECKS:
            print(check.__name__, flush=True)
            await check(behind)
    print("all is well")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(str(__doc__))
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
