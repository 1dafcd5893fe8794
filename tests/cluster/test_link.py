"""What Drover reads and writes in a cluster: whom to believe, who somebody is, namespaces, Events; and a cluster that is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app.cluster.base import Refused, Unreachable
from app.cluster.client import ClusterClient
from app.cluster.config import ClusterConfig, ClusterConfigError, Secret, from_kubeconfig, in_cluster
from app.cluster.reviews import Reviews
from app.cluster.trust import Trust, TrustFollower, trust_of
from app.controllers.delegated.events import TOLD, EventForwarder
from app.controllers.delegated.namespaces import NamespaceMirror
from app.controllers.events import Recorder
from app.kinds import EVENT, NAMESPACE
from app.machinery.errors import ApiError
from app.store.base import Key, NotFound, Scope, Store
from tests.cluster.scene import PROXY, Cluster, token

Document = dict[str, Any]


@pytest.fixture
async def link(behind: Cluster, tmp_path: Path) -> AsyncIterator[ClusterClient]:
    client = ClusterClient(from_kubeconfig(behind.kubeconfig("drover", tmp_path / "drover.kubeconfig")))
    yield client
    await client.close()


@asynccontextmanager
async def going_on(run: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    async def going() -> None:
        await run()

    task = asyncio.create_task(going())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110  (another server's state tells nobody)
            await asyncio.sleep(0.02)


class Tally:
    def __init__(self) -> None:
        self.times_told = 0
        self.losses: list[str] = []
        self.number = 0

    def told(self) -> None:
        self.times_told += 1

    def lost(self, why: str) -> None:
        self.losses.append(why)

    def waiting(self, number: int) -> None:
        self.number = number


# where it is


def test_a_pod_finds_its_cluster_by_its_service_account(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "ca.crt").write_text("pem")

    config = in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)

    assert config.server == "https://[fd00::1]:443"
    assert (config.authority.read(), config.token.read()) == ("pem", "secret\n")
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    ("user", "cluster", "said"),
    [
        ({"exec": {"command": "id"}}, {}, "`exec`"),
        ({}, {"server": "http://127.0.0.1"}, "https://"),
        ({}, {"insecure-skip-tls-verify": True}, "certificate-authority"),
        ({}, {"certificate-authority-data": "?"}, "no base64"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, user: Document, cluster: Document, said: str
) -> None:
    path = tmp_path / "config"
    config = {
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": user}], "clusters": [{"name": "c", "cluster": {"server": "https://h"} | cluster}],
    }  # fmt: skip
    path.write_text(json.dumps(config))

    with pytest.raises(ClusterConfigError) as raised:
        from_kubeconfig(path)

    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_outside_a_pod_and_without_a_kubeconfig_nothing_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(ClusterConfigError, match="DROVER_KUBECONFIG"):
        in_cluster({}, tmp_path)


async def test_who_has_another_authority_is_not_spoken_to(behind: Cluster) -> None:
    config = ClusterConfig(behind.url, Secret(text=behind.serving.pem), token=Secret(text=token("drover")))
    client = ClusterClient(config)

    with pytest.raises(Unreachable, match="certificate verify failed"):
        await client.get("/version")

    await client.close()


async def test_a_token_that_was_renewed_is_used(behind: Cluster, tmp_path: Path) -> None:
    now = [0.0]
    (tmp_path / "token").write_text("too old")
    config = ClusterConfig(behind.url, Secret(text=behind.authority.pem), token=Secret(tmp_path / "token"))
    client = ClusterClient(config, clock=lambda: now[0])
    with pytest.raises(Refused, match="Unauthorized"):
        await client.get("/api/v1/namespaces")

    (tmp_path / "token").write_text(token("drover"))
    now[0] = 61.0

    assert (await client.get("/api/v1/namespaces"))["kind"] == "NamespaceList"
    await client.close()


# whom to believe


def test_what_the_cluster_says_of_whom_to_believe_is_read_or_refused_whole() -> None:
    said = {"requestheader-allowed-names": '["a","b"]', "requestheader-username-headers": '["X-Remote-User"]'}

    assert trust_of(said) == Trust(proxy_names=("a", "b"), user_headers=("X-Remote-User",))
    for wrong in ('"a"', "[1]", "["):
        with pytest.raises(ValueError, match="requestheader-allowed-names"):
            trust_of({"requestheader-allowed-names": wrong})


async def test_whom_to_believe_is_followed_and_stays_while_the_cluster_is_away(
    behind: Cluster, link: ClusterClient
) -> None:
    seen: list[Trust] = []
    follower = TrustFollower(link, seen.append, first_s=0.05)
    async with going_on(follower.run):
        async with asyncio.timeout(5):
            await follower.known.wait()
        assert follower.trust.proxy_names == (PROXY,)
        assert follower.trust.uid_headers == ("X-Remote-Uid",)

        await behind.kube.believe(behind.trust(**{"requestheader-allowed-names": '["other"]'}))
        await until(lambda: _is(follower.trust.proxy_names == ("other",)))

        behind.kube.broken = True
        behind.kube.end_watches()
        await behind.kube.believe(behind.trust(**{"requestheader-allowed-names": '["third"]'}))
        await asyncio.sleep(0.2)
        assert follower.trust.proxy_names == ("other",)

        behind.kube.broken = False
        await until(lambda: _is(follower.trust.proxy_names == ("third",)))

        await behind.kube.believe(behind.trust(**{"requestheader-allowed-names": "nonsense"}))
        await behind.kube.believe(behind.trust(**{"requestheader-allowed-names": '["fourth"]'}))
        await until(lambda: _is(follower.trust.proxy_names == ("fourth",)))
    assert [trust.proxy_names for trust in seen] == [(PROXY,), ("other",), ("third",), ("fourth",)]


async def _is(holds: bool) -> bool:
    return holds


async def test_a_cluster_that_has_just_begun_is_waited_for_and_an_authority_is_never_taken_away(
    behind: Cluster, link: ClusterClient
) -> None:
    follower = TrustFollower(link, lambda _trust: None, first_s=0.05)
    await behind.kube.believe({})
    async with going_on(follower.run):
        await until(lambda: _is(any(resource == "configmaps" for resource in behind.kube.listed)))
        assert not follower.known.is_set()

        await behind.kube.believe(behind.trust())
        async with asyncio.timeout(5):
            await follower.known.wait()
        await behind.kube.believe({"requestheader-allowed-names": '["other"]'})
        await until(lambda: _is(follower.trust.proxy_names == ("other",)))

    assert follower.trust.proxy_authority == behind.front.authority.pem
    assert follower.trust.client_authority == behind.clients.pem
    assert follower.trust.user_headers == ()


# reviews


async def test_a_token_is_asked_for_once_in_ten_seconds_by_however_many(behind: Cluster, link: ClusterClient) -> None:
    now = [0.0]
    reviews = Reviews(link, clock=lambda: now[0])

    found = await asyncio.gather(*(reviews.identity(token("alice")) for _ in range(5)))

    assert {one.name for one in found if one} == {"alice"}
    assert found[0] is not None
    assert found[0].extra == (("example.org/team", ("red", "blue")),) and found[0].uid == "uid-alice"
    assert await reviews.identity("unknown") is None
    assert await reviews.identity("unknown") is None
    assert len(behind.kube.reviews) == 2
    now[0] = 10.1
    await reviews.identity(token("alice"))
    assert len(behind.kube.reviews) == 3


async def test_a_question_is_asked_once_in_ten_seconds_and_long_ones_each_time(
    behind: Cluster, link: ClusterClient
) -> None:
    now = [0.0]
    reviews = Reviews(link, clock=lambda: now[0])
    asked = {"verb": "list", "group": "kubevirt.io", "resource": "migrations", "namespace": "team"}
    spec = {"user": "bob", "groups": ["system:authenticated"], "resourceAttributes": asked}

    for _ in range(3):
        assert (await reviews.access(spec)).allowed
        assert not (await reviews.access({**spec, "resourceAttributes": {**asked, "verb": "delete"}})).allowed
    assert len(behind.kube.reviews) == 2
    now[0] = 10.1
    await reviews.access(spec)
    assert len(behind.kube.reviews) == 3
    for _ in range(2):
        await reviews.access({**spec, "resourceAttributes": {**asked, "name": "x" * 10_000}})
    assert len(behind.kube.reviews) == 5


async def test_what_may_pass_is_asked_again_and_errors_are_not_remembered(behind: Cluster, link: ClusterClient) -> None:
    counted: list[tuple[str, str]] = []
    reviews = Reviews(link, counted=lambda resource, code, took_s: counted.append((resource, code)), first_s=0.01)
    behind.kube.broken = True

    with pytest.raises(Refused) as raised:
        await reviews.identity(token("alice"))

    assert raised.value.code == 503
    assert counted == [("tokenreviews", "503")] * 5
    behind.kube.broken = False
    assert (await reviews.identity(token("alice"))) is not None


async def test_who_waits_for_anothers_question_is_not_cut_off_with_them(behind: Cluster, link: ClusterClient) -> None:
    reviews = Reviews(link, first_s=0.01)
    first = asyncio.create_task(reviews.identity(token("alice")))
    await asyncio.sleep(0)
    second = asyncio.create_task(reviews.identity(token("alice")))
    await asyncio.sleep(0)
    first.cancel()

    found = await second

    assert found is not None and found.name == "alice"


# namespaces


async def test_a_namespace_is_known_the_moment_it_is_made(behind: Cluster, link: ClusterClient, store: Store) -> None:
    mirror = NamespaceMirror(store, link)
    kubectl = behind.kubectl("admin")
    with pytest.raises(NotFound):
        await mirror.look("fresh")

    await kubectl("create", "namespace", "fresh")

    assert (await mirror.look("fresh"))["metadata"]["name"] == "fresh"
    stored = await store.objects.get(Key(NAMESPACE.resource, "", "fresh"))
    assert stored.document["metadata"]["labels"]["kubernetes.io/metadata.name"] == "fresh"
    assert not stored.document["spec"]


async def test_namespaces_follow_the_cluster(behind: Cluster, link: ClusterClient, store: Store) -> None:
    mirror, kubectl = NamespaceMirror(store, link, first_s=0.05), behind.kubectl("admin")

    async def mirrored(name: str) -> Document:
        try:
            found: Document = (await store.objects.get(Key(NAMESPACE.resource, "", name))).document["metadata"]
        except NotFound:
            return {}
        return found

    async with going_on(mirror.run):
        await until(lambda: _there(mirrored, "team"))
        await kubectl("label", "namespace", "team", "tier=gold")
        await until(lambda: _labelled(mirrored, "gold"))
        before = (await mirrored("team"))["uid"]

        await kubectl("delete", "namespace", "team", "--wait=false")
        await until(lambda: _leaves(mirrored))
        with pytest.raises(NotFound):  # it terminates here until its content is gone; then it goes, and here too
            await _finished(behind, mirror)
        await until(lambda: _gone(mirrored))

        await kubectl("create", "namespace", "team")
        assert (await mirror.look("team"))["metadata"]["uid"] != before


async def _there(mirrored: Callable[[str], Awaitable[Document]], name: str) -> bool:
    return bool(await mirrored(name))


async def _labelled(mirrored: Callable[[str], Awaitable[Document]], tier: str) -> bool:
    labels: dict[str, str] = (await mirrored("team"))["labels"]
    return labels.get("tier") == tier


async def _leaves(mirrored: Callable[[str], Awaitable[Document]]) -> bool:
    return "deletionTimestamp" in await mirrored("team")


async def _gone(mirrored: Callable[[str], Awaitable[Document]]) -> bool:
    return not await mirrored("team")


async def _finished(behind: Cluster, mirror: NamespaceMirror) -> None:
    async with behind.http("admin") as http:
        found = (await http.get("/api/v1/namespaces/team")).json()
        assert found["status"]["phase"] == "Terminating"
        assert (await mirror.look("team"))["metadata"]["deletionTimestamp"]
        done = await http.put("/api/v1/namespaces/team/finalize", json={**found, "spec": {"finalizers": []}})
        assert done.status_code == 200, done.text
    await mirror.look("team")


async def test_a_cluster_that_is_away_makes_an_unknown_namespace_an_error_and_a_known_one_none(
    behind: Cluster, link: ClusterClient, store: Store
) -> None:
    mirror = NamespaceMirror(store, link)
    await mirror.look("team")
    behind.kube.broken = True

    assert (await mirror.look("team"))["metadata"]["name"] == "team"
    with pytest.raises(ApiError) as raised:
        await mirror.look("other")

    assert (raised.value.code, raised.value.reason) == (500, "InternalError")


async def test_odd_names_are_never_sent_to_the_cluster(link: ClusterClient, store: Store) -> None:
    for name in ("..", "a/b", "x%2f", "A", "", "ü"):
        with pytest.raises(NotFound):
            await NamespaceMirror(store, link).look(name)


# events


def involved(namespace: str = "team", kind: str = "Migration", version: str = "kubevirt.io/v1alpha1") -> Document:
    metadata = {"name": "m", "namespace": namespace, "uid": str(uuid4()), "resourceVersion": "5"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


async def events_of(behind: Cluster) -> list[Document]:
    async with behind.http("admin") as http:
        found: list[Document] = (await http.get("/api/v1/namespaces/team/events")).json()["items"]
    return found


async def told(behind: Cluster, number: int) -> bool:
    return len(await events_of(behind)) == number


async def test_events_are_told_to_the_cluster_and_repeated_ones_counted(
    behind: Cluster, link: ClusterClient, store: Store
) -> None:
    tally, migration = Tally(), involved()
    forwarder = EventForwarder(store, link, tally, hold_off_s=0.05)
    async with going_on(forwarder.run):
        await Recorder().record_alone(store, migration, "Moved", "it is there")
        await until(lambda: told(behind, 1))
        await Recorder().record_alone(store, migration, "Moved", "it is there")
        await until(lambda: _counted(behind, 2))

    (event,) = await events_of(behind)
    assert event["involvedObject"] | {"apiVersion": ""} == {
        "apiVersion": "", "kind": "Migration", "name": "m", "namespace": "team", "resourceVersion": "5",
        "uid": migration["metadata"]["uid"],
    }  # fmt: skip
    assert (event["reason"], event["message"], event["source"]["component"]) == ("Moved", "it is there", "drover")
    assert tally.losses == [] and tally.number == 0
    (kept,) = (await store.objects.list(Scope(EVENT.resource))).items
    assert kept.document["metadata"]["annotations"][TOLD] == "2"


async def _counted(behind: Cluster, count: int) -> bool:
    return [event["count"] for event in await events_of(behind)] == [count]


async def test_events_of_pods_and_nodes_are_about_ours_not_the_clusters(
    behind: Cluster, link: ClusterClient, store: Store
) -> None:
    async with going_on(EventForwarder(store, link, Tally()).run):
        await Recorder().record_alone(store, involved(kind="Pod", version="v1"), "Started", "it runs")
        await until(lambda: told(behind, 1))

    (event,) = await events_of(behind)
    assert event["involvedObject"]["apiVersion"] == "kubevirt.io/v1alpha1"


async def test_events_wait_for_a_cluster_that_is_away_and_for_another_process(
    behind: Cluster, link: ClusterClient, store: Store
) -> None:
    first, second = Tally(), Tally()
    behind.kube.broken = True
    async with going_on(EventForwarder(store, link, first, hold_off_s=0.05).run):
        for number in range(3):
            await Recorder().record_alone(store, involved(), "Moved", f"number {number}")
        await until(lambda: _is(first.number == 3))
    behind.kube.broken = False
    async with going_on(EventForwarder(store, link, second, hold_off_s=0.05).run):
        await until(lambda: told(behind, 3))
        await until(lambda: _is(second.times_told == 3))

    assert (first.times_told, first.losses, second.losses) == (0, [], [])


async def test_an_event_that_the_cluster_will_never_take_is_counted_as_lost(
    behind: Cluster, link: ClusterClient, store: Store
) -> None:
    tally = Tally()
    async with going_on(EventForwarder(store, link, tally, hold_off_s=0.05).run):
        await Recorder().record_alone(store, involved("nowhere"), "Moved", "unheard")
        await until(lambda: _is(tally.losses == ["its namespace is gone"]))

        behind.kube.broken = True
        await Recorder().record_alone(store, involved(), "Moved", "kept too short")
        await until(lambda: _is(tally.number == 1))
        (waiting,) = (await store.objects.list(Scope(EVENT.resource, "team"))).items
        await store.objects.delete(waiting.key)
        await until(lambda: _is(tally.losses[1:] == ["kept no longer"]))


async def test_no_more_than_some_events_wait(behind: Cluster, link: ClusterClient, store: Store) -> None:
    tally = Tally()
    behind.kube.broken = True
    async with going_on(EventForwarder(store, link, tally, waiting_most=2, hold_off_s=60).run):
        for number in range(3):
            await Recorder().record_alone(store, involved(), "Moved", f"number {number}")
        await until(lambda: _is(tally.losses == ["too many wait"]))

    assert tally.number == 2
