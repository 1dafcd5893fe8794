"""What an eviction does: it ends no guest, and takes a pod that is over."""

from __future__ import annotations

from typing import Any

import pytest

from app.controllers.eviction import Evictions
from app.kinds import POD
from app.machinery.errors import ApiError
from app.store.base import Key, NotFound, Store
from tests.controllers.world import World

pytestmark = pytest.mark.postgres

KEY = Key(POD.resource, "default", "virt-launcher-x")


async def a_pod(store: Store, phase: str) -> str:
    """Its uid."""
    pod = World(store).birth.document(
        POD, "default", KEY.name, labels={"kubevirt.io": "virt-launcher"}, spec={}, status={"phase": phase}
    )
    await store.objects.create(KEY, pod)
    return str(pod["metadata"]["uid"])


async def evict(store: Store, dry_run: bool = False, **delete_options: Any) -> dict[str, Any]:
    return await Evictions(store).answer("create", KEY, {"deleteOptions": delete_options}, dry_run)


async def is_there(store: Store) -> bool:
    try:
        await store.objects.get(KEY)
    except NotFound:
        return False
    return True


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
async def test_a_pod_whose_guest_runs_or_arrives_stays(store: Store, phase: str) -> None:
    await a_pod(store, phase)

    with pytest.raises(ApiError) as refused:
        await evict(store)

    assert (refused.value.code, refused.value.reason) == (429, "TooManyRequests")
    assert "draining is not built yet" in refused.value.message
    assert await is_there(store)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_pod_that_is_over_goes(store: Store, phase: str) -> None:
    await a_pod(store, phase)

    status = await evict(store)

    assert (status["kind"], status["status"], status["code"]) == ("Status", "Success", 201)
    assert not await is_there(store)


@pytest.mark.parametrize("asked", [{"dry_run": True}, {"dryRun": ["All"]}], ids=["in the query", "in the body"])
async def test_a_dry_run_takes_nothing(store: Store, asked: dict[str, Any]) -> None:
    await a_pod(store, "Succeeded")

    status = await evict(store, **asked)

    assert status["status"] == "Success"
    assert await is_there(store)


async def test_only_the_pod_that_was_meant_is_evicted(store: Store) -> None:
    uid = await a_pod(store, "Succeeded")

    with pytest.raises(ApiError) as refused:
        await evict(store, preconditions={"uid": "another"})
    assert await is_there(store)
    await evict(store, preconditions={"uid": uid})

    assert refused.value.code == 409
    assert not await is_there(store)


async def test_a_pod_that_is_gone_is_not_found(store: Store) -> None:
    with pytest.raises(ApiError) as refused:
        await evict(store)

    assert refused.value.code == 404
