"""Every behaviour of a kube-apiserver that one or two requests can ask for, as a table: `laws/` has a module a section."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest

from app.kinds import ALL
from app.store.base import Key, Scope, Store
from tests.api.builders import (
    KV,
    MACHINES,
    MIGRATIONS,
    NODES,
    finalized,
    labelled,
    machine,
    make_namespace,
    make_pod,
    migration,
    node,
    pod,
)
from tests.api.laws import (
    applying,
    creating,
    deleting,
    discovery,
    handling,
    listing,
    metadata,
    patching,
    schemas,
    shapes,
    subresources,
    updating,
    watching,
)
from tests.api.laws.row import Row, asked, problems

SECTIONS: Mapping[str, Sequence[Row]] = {
    "discovery": discovery.ROWS,
    "handling": handling.ROWS,
    "listing": listing.ROWS,
    "watching": watching.ROWS,
    "creating": creating.ROWS,
    "metadata": metadata.ROWS,
    "schemas": schemas.ROWS,
    "updating": updating.ROWS,
    "patching": patching.ROWS,
    "applying": applying.ROWS,
    "deleting": deleting.ROWS,
    "shapes": shapes.ROWS,
    "subresources": subresources.ROWS,
}
AT_ONCE = 24
LEAVING = f"{KV}/namespaces/leaving/virtualmachines"


@dataclass(frozen=True)
class World:
    """Two machines, one that is going, a finalized migration, a node and a pod that has ended."""

    client: httpx.AsyncClient
    store: Store

    async def facts(self) -> Mapping[str, str]:
        """What rows are filled in from."""
        machines = (await self.client.get(MACHINES)).json()
        first = machines["items"][0]["metadata"]
        host = (await self.client.get(f"{NODES}/node0")).json()["metadata"]
        page = (await self.client.get(f"{MACHINES}?limit=1")).json()["metadata"]["continue"]
        return {
            "rv": machines["metadata"]["resourceVersion"],
            "vm0.rv": first["resourceVersion"],
            "vm0.uid": first["uid"],
            "node0.rv": host["resourceVersion"],
            "node0.uid": host["uid"],
            "continue": page,
        }

    async def make(self) -> None:
        await self.client.post(MACHINES, json=labelled(machine("vm0"), tier="a"))
        await self.client.post(MACHINES, json=labelled(machine("vm1"), tier="b"))
        await self.client.post(MIGRATIONS, json=finalized(migration("keep"), "kubevirt.io/migration"))
        await self.client.post(NODES, json=node())
        await self.client.post(LEAVING, json=machine("going"))
        await self.client.delete(f"{LEAVING}/going")
        await make_pod(self.store, pod("pod0"))

    async def renew(self) -> None:
        """As new: without what the last row has done."""
        for kind in ALL:
            for stored in (await self.store.objects.list(Scope(kind.resource))).items:
                if stored.key != Key("namespaces", "", "default"):
                    await self.store.objects.delete(stored.key, revision=stored.revision)
        await make_namespace(self.store, "leaving")
        await self.make()


@pytest.fixture
async def world(client: httpx.AsyncClient, store: Store) -> World:
    await make_namespace(store, "leaving")
    made = World(client, store)
    await made.make()
    await store.compact(older_than=timedelta(0), keep=0)
    return made


@pytest.mark.parametrize("section", SECTIONS)
async def test_every_answer_is_kube_apiservers(world: World, section: str) -> None:
    rows, differing = SECTIONS[section], []
    harmless = [row for row in rows if row.harmless]
    facts = await world.facts()

    for start in range(0, len(harmless), AT_ONCE):
        chunk = harmless[start : start + AT_ONCE]
        answers = await asyncio.gather(*(asked(world.client, row, facts) for row in chunk))
        for row, answer in zip(chunk, answers, strict=True):
            differing += problems(row, answer, facts)
    for row in rows:
        if not row.harmless:
            before = await world.store.objects.revision()
            differing += problems(row, await asked(world.client, row, facts), facts)
            if await world.store.objects.revision() != before:
                await world.renew()
                facts = await world.facts()

    assert not differing, f"{len(differing)} differ:\n" + "\n".join(differing)


# What one or two requests cannot ask, and where it is asked instead:
#
# Section 1    An ETag and the 304 that follows, the hash of a document, gzip of it: test_documents. What clients make
#              of discovery and OpenAPI, back to kubectl's fallbacks: test_kubectl, and the generated clients' tests.
# Section 2.0  A body that arrives in pieces, a client that hangs up: test_connections, test_nonsense. gzip from 128 KiB
#              on: test_lists.
# Section 2.1  Eight tries for a generated name: test_writes.
# Section 2.2  A page whose snapshot is compacted, with the token that goes on from there; waiting for a revision that
#              comes soon: test_lists. Every read that was recorded: test_recorded_reads.
# Section 2.3  Bookmarks and when they are due, watches that are compacted, cut off or too slow: test_watch. Streaming
#              lists at a revision, and as Tables: test_streaming_lists. No event lost or told twice: test_history.
# Section 2.4  Writers that race: test_writes, test_history.
# Section 2.5  Every patch and apply that was recorded, in their order: tests/machinery/test_recorded and
#              test_recorded_applies. Owners over several writes, kubectl's way from client-side to server-side apply:
#              test_managed_fields, test_kubectl_apply.
# Section 2.6  What becomes of dependents, and of what is in a namespace: test_deletes, test_kubectl_deletes, and the
#              controllers' tests of garbage and namespaces.
# Section 3    401 and 403 of users: there is one user until there is authentication. 429: nothing sheds load yet.
#              503 without a database, 500 for what nobody foresaw: test_writes.
# Section 5    Columns that change with the time, durations: tests/machinery/test_table.
# Section 6    Every selector against a second implementation: tests/machinery/test_selectors.
# Section 7    Behind an aggregator: not before that is built.
#
# Differing on purpose: selfLink is filled; Drover's own kinds are named by DNS labels; a list at resourceVersion 0 keeps
# its limit; a resourceVersion on create is 400, where kube-apiserver has a 500 by mistake; pods cannot be made, nor
# deleted while what they stand for runs.
