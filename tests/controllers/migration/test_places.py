"""The hosts that a migration's process may ask: those of its plan, and all others as they are when it starts."""

from __future__ import annotations

import pytest

from app.controllers.migration.places import others_of, place_of
from app.store.postgres import PostgresStore
from tests.controllers.migration.process_scene import standing
from tests.controllers.migration.world import create, node_document

pytestmark = pytest.mark.postgres


async def test_a_node_that_came_later_is_asked_too(store: PostgresStore) -> None:
    async with standing() as scene:
        plan = scene.plan
    for name in ("node0", "node1", "node2"):
        await create(store, node_document(name))
    before = await others_of(store.objects, plan)
    late = node_document("node3")
    await create(store, late)

    after = await others_of(store.objects, plan)

    assert [place.node for place in before] == ["node2"]
    assert [place.node for place in after] == ["node2", "node3"]
    assert after[1] == place_of(late)
