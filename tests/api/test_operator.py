"""An operator written with kopf works on Drover, and misses nothing while the API process that it speaks to is killed."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from app.kubeconfig import Way
from app.machinery.objects import Document
from app.store.base import Store
from tests.api.builders import MIGRATIONS, labelled, make_namespace, migration
from tests.api.informer import Informer
from tests.api.migration_operator import CREATED, STEPS
from tests.api.processes import free_port, line, running
from tests.api.watched import changed

KOPF = Path(sys.executable).parent / "kopf"
FINALIZER = "example.com/operator"
EVENTS = "/api/v1/namespaces/default/events"


@dataclass
class Operator:
    """The operator's process, and what it said."""

    process: Process
    said: list[str] = field(default_factory=list)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for text in self.process.stdout:
            self.said.append(text.decode().strip())

    def times(self, text: str) -> int:
        return self.said.count(text)


@asynccontextmanager
async def operating(server: str, home: Path) -> AsyncIterator[Operator]:
    """kopf with the operator, stopped as Kubernetes stops it."""
    Way(server).write(home / "kubeconfig")
    with (home / "operator.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            KOPF, "run", "--standalone", "-n", "default", str(Path(__file__).parent / "migration_operator.py"),
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), "KUBECONFIG": str(home / "kubeconfig")},
            stdout=PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
    operator = Operator(process)
    listening = asyncio.create_task(operator.listen())
    try:
        yield operator
        process.terminate()
        async with asyncio.timeout(30):
            await process.wait()
    except BaseException:
        print((home / "operator.log").read_text())
        raise
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


def annotation(document: Document | None, key: str) -> str:
    return str((document or {}).get("metadata", {}).get("annotations", {}).get(key, ""))


async def make(client: httpx.AsyncClient, name: str) -> None:
    """Without the finalizer of its kind, which nobody here would take off."""
    answer = await client.post(MIGRATIONS, json=labelled(migration(name), step="1"))
    assert answer.status_code == 201, answer.text
    patch = [{"op": "test", "path": "/metadata/finalizers/0", "value": "kubevirt.io/migration"},
             {"op": "remove", "path": "/metadata/finalizers/0"}]  # fmt: skip
    answer = await client.patch(
        f"{MIGRATIONS}/{name}", json=patch, headers={"content-type": "application/json-patch+json"}
    )
    assert answer.status_code == 200, answer.text


async def step(client: httpx.AsyncClient, name: str, number: int) -> None:
    await changed(client, f"{MIGRATIONS}/{name}", {"metadata": {"labels": {"step": str(number)}}})


async def test_an_operator_misses_nothing_when_its_api_process_is_killed(
    postgres_url: str, store: Store, tmp_path: Path
) -> None:
    await make_namespace(store, "default")
    port = free_port()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running("serve", postgres_url, "30", str(port)))
        address = await line(first)
        other = await line(await stack.enter_async_context(running("serve", postgres_url)))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=other, timeout=30))
        informer = Informer(MIGRATIONS)
        informing = asyncio.create_task(informer.run(other))
        operator = await stack.enter_async_context(operating(address, tmp_path))

        for name in ("changing", "leaving", "staying"):
            await make(client, name)
        await informer.until(lambda seen: len(seen) == 3 and all(annotation(one, STEPS) for one in seen.values()))
        await step(client, "changing", 2)
        await informer.until(lambda seen: annotation(seen["changing"], STEPS) == "1 2")

        first.kill()
        await first.wait()
        await step(client, "changing", 3)
        await client.delete(f"{MIGRATIONS}/leaving")
        for number in range(5):
            await make(client, f"new{number}")
        await stack.enter_async_context(running("serve", postgres_url, "30", str(port)))
        await make(client, "late")
        await step(client, "staying", 2)

        seen = await informer.until(
            lambda seen: (
                "leaving" not in seen
                and annotation(seen["changing"], STEPS) == "1 2 3"
                and annotation(seen["staying"], STEPS) == "1 2"
                and all(annotation(one, CREATED) == "testvm" for one in seen.values())
            )
        )
        told = (await client.get(EVENTS, params={"fieldSelector": "reason=Deleted"})).json()["items"]
        informing.cancel()
        await asyncio.wait([informing])

    assert len(seen) == 8
    assert all(one["metadata"]["finalizers"] == [FINALIZER] for one in seen.values())
    assert [event["involvedObject"]["name"] for event in told] == ["leaving"]
    assert {name: operator.times(f"created {name}") for name in seen} == dict.fromkeys(seen, 1)
    assert (operator.times("deleted leaving"), operator.times("told leaving DELETED")) == (1, 1)
    assert [said for said in operator.said if said.startswith("stepped changing")] == [
        "stepped changing 1", "stepped changing 2", "stepped changing 3",
    ]  # fmt: skip
