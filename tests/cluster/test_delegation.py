"""Whom Drover believes behind a cluster, what holds while either is away, and namespaces that end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access import Trust
from app.api.auth.x509 import Authorities
from app.main import __file__ as ENTRY
from app.settings import Settings
from app.wiring.errors import Misconfigured
from app.wiring.service import Service, running
from tests.api.kubectl import rows
from tests.cluster.pki import Authority
from tests.cluster.scene import PROXY, Cluster, FrontProxy, drover
from tests.cluster.test_kubectl import MIGRATION, machine

Document = dict[str, Any]

LIST = "/apis/kubevirt.io/v1alpha1/namespaces/team/virtualmachines"
FORGED = {"x-remote-user": "admin", "x-remote-group": "system:masters"}


@pytest.fixture
async def served(behind: Cluster, postgres_url: str) -> AsyncIterator[Service]:
    async with drover(behind, postgres_url) as service:
        await behind.available()
        yield service


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110  (another server's state tells nobody)
            await asyncio.sleep(0.05)


async def code(client: httpx.AsyncClient, path: str = LIST) -> int:
    return (await client.get(path)).status_code


# who is believed


async def test_headers_of_a_front_proxy_count_over_its_certificate_alone(behind: Cluster, served: Service) -> None:
    proxies, clients = behind.front.authority, behind.clients
    cases: list[tuple[str, dict[str, Any], int]] = [
        ("the front proxy, for a user", {"shown": proxies.client(PROXY), "x-remote-user": "bob",
                                         "x-remote-group": "system:authenticated"}, 200),
        ("the front proxy, for nobody", {"shown": proxies.client(PROXY)}, 401),
        ("no certificate", FORGED, 403),
        ("no certificate, but a token", {"user": "carol", **FORGED}, 403),
        ("a name that is not allowed", {"shown": proxies.client("somebody"), **FORGED}, 401),
        ("a user's certificate", {"shown": clients.client("carol"), **FORGED}, 403),
        ("a user's certificate with the proxy's name", {"shown": clients.client(PROXY), **FORGED}, 403),
    ]  # fmt: skip
    for name, said, expected in cases:
        async with behind.direct(**said) as http:
            assert await code(http) == expected, name


async def test_a_certificate_of_nobody_known_or_out_of_date_ends_the_connection(
    behind: Cluster, served: Service
) -> None:
    stranger = Authority("front-proxy").client(PROXY)
    expired = behind.front.authority.client(PROXY, lasts=timedelta(days=-1))
    for shown in (stranger, expired):
        async with behind.direct(shown=shown, **FORGED) as http:
            with pytest.raises(httpx.TransportError):
                await http.get(LIST)


async def test_users_reach_drover_directly_with_what_the_cluster_knows_them_by(
    behind: Cluster, served: Service
) -> None:
    for said, expected in (
        ({"user": "bob"}, 200),
        ({"shown": behind.clients.client("bob")}, 200),
        ({"shown": behind.clients.client("carol")}, 403),
        ({"shown": behind.clients.client("x", ["system:masters"])}, 200),
        ({"authorization": "Bearer unknown"}, 401),
        ({"authorization": "Basic YWRtaW46YWRtaW4="}, 403),
        ({}, 403),
    ):
        async with behind.direct(**said) as http:
            assert await code(http) == expected, said


async def test_strangers_see_whether_it_is_well_and_no_more(behind: Cluster, served: Service) -> None:
    async with behind.direct() as http:
        assert [await code(http, path) for path in ("/livez", "/readyz", "/healthz")] == [200] * 3
        assert [await code(http, path) for path in ("/metrics", "/apis", "/openapi/v2", "/livez/ping")] == [403] * 4
        await code(http, "/livez")
    asked = [spec for _, spec in behind.kube.reviews if spec.get("user") == "system:anonymous"]
    assert "/livez" not in [spec["nonResourceAttributes"]["path"] for spec in asked]


async def test_smuggled_headers_do_not_add_to_the_front_proxys(behind: Cluster, served: Service) -> None:
    async with behind.http("bob") as http:
        refused = await http.post(LIST, json=machine(), headers={**FORGED, "x-remote-extra-a": "b"})

    assert refused.status_code == 403
    assert 'User "bob"' in refused.json()["message"]


async def test_the_front_proxys_authority_is_changed_while_serving(behind: Cluster, served: Service) -> None:
    kubectl, aggregator = behind.kubectl("bob"), behind.kube.aggregator
    assert "No resources" in await kubectl("get", "vm")
    former = behind.front
    fresh = FrontProxy.of(Authority("front-proxy-2"), "proxy-2")

    both = former.authority.pem + fresh.authority.pem
    await behind.kube.believe(
        behind.trust(**{
            "requestheader-client-ca-file": both, "requestheader-allowed-names": json.dumps([PROXY, "proxy-2"]),
        })
    )  # fmt: skip
    behind.front = fresh

    async def is_known() -> bool:
        aggregator.show_anew()
        return (await kubectl.run("get", "vm"))[1] == 0

    await until(is_known)
    await behind.kube.believe(behind.trust(**{"requestheader-allowed-names": '["proxy-2"]'}))

    async def is_forgotten() -> bool:
        async with behind.direct(shown=former.shown, **FORGED) as http:
            try:
                return await code(http) == 401
            except httpx.TransportError:
                return True

    await until(is_forgotten)
    assert "No resources" in await kubectl("get", "vm")


async def test_an_open_watch_outlives_a_change_of_authorities(behind: Cluster, served: Service) -> None:
    alice = behind.kubectl("alice")
    watching = await alice.start("get", "vm", "-w", "--no-headers")
    await behind.kube.believe(behind.trust(**{"requestheader-allowed-names": json.dumps([PROXY, "another"])}))
    await asyncio.sleep(0.3)
    await alice("create", "-f", "-", given=machine())

    assert watching.stdout is not None
    async with asyncio.timeout(10):
        assert (await watching.stdout.readline()).startswith(b"testvm ")


# what is away


async def test_while_the_cluster_does_not_answer_what_is_known_holds_and_the_rest_is_an_error(
    behind: Cluster, served: Service
) -> None:
    proxied = {"x-remote-user": "bob", "x-remote-group": "system:authenticated"}
    async with behind.direct(shown=behind.front.shown, **proxied) as bob, behind.direct() as nobody:
        assert await code(bob) == 200
        behind.kube.broken = True
        behind.kube.end_watches()

        assert await code(bob) == 200
        async with behind.direct("carol") as carol:
            unjudged, unknown = await asyncio.gather(bob.get(f"{LIST}/testvm"), carol.get(LIST))
        assert unknown.status_code == 401
        assert unjudged.status_code == 500
        assert unjudged.headers["content-type"].startswith("text/plain")
        assert unjudged.text.startswith(f'Internal Server Error: "{LIST}/testvm": ')
        async with behind.direct(shown=behind.clients.client("x", ["system:masters"])) as master:
            assert await code(master) == 200
        assert await code(nobody, "/readyz") == 200
        await behind.kube.aggregator.check()
        assert behind.registered.available

        behind.kube.broken = False
        assert await code(bob, f"{LIST}/testvm") == 404
        async with behind.direct("carol") as carol:
            assert await code(carol) == 403


async def test_a_drover_that_is_away_is_unavailable_and_available_again(behind: Cluster, postgres_url: str) -> None:
    kubectl, admin = behind.kubectl("alice"), behind.kubectl("admin")
    async with drover(behind, postgres_url):
        await behind.available()
        await kubectl("create", "-f", "-", given=machine())
        waiting = await admin.start("wait", "apiservice/v1alpha1.kubevirt.io", "--for=condition=Available=False")

    await behind.available(wanted=False)
    assert behind.registered.reason == "FailedDiscoveryCheck"
    async with asyncio.timeout(20):
        assert await waiting.wait() == 0
    printed, ended = await kubectl.run("get", "vm")
    assert ended == 1 and "the server is currently unable to handle the request" in printed
    async with behind.http("alice") as http:
        refused = await http.get(LIST)
    assert (refused.status_code, refused.text) == (503, "service unavailable\n")
    assert "team" in await admin("get", "namespaces")

    async with drover(behind, postgres_url):
        await behind.available()
        assert rows(await kubectl("get", "vm", "--no-headers"))[0][0] == "testvm"


async def test_of_two_that_serve_the_second_goes_on_with_the_link(behind: Cluster, postgres_url: str) -> None:
    admin = behind.kubectl("admin")
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        await first.enter_async_context(drover(behind, postgres_url))
        await second.enter_async_context(drover(behind, postgres_url))  # the APIService leads here now
        await behind.available()
        await first.aclose()

        assert "created" in await admin("create", "-f", "-", given=machine())
        await admin("delete", "namespace", "team", "--wait=false")
        await until(lambda: _refused(behind))


# namespaces and events


async def test_a_namespace_ends_with_what_is_in_it(behind: Cluster, postgres_url: str) -> None:
    admin = behind.kubectl("admin")
    async with drover(behind, postgres_url, workers=True):
        await behind.available()
        await admin("create", "-f", "-", given=machine(finalizers=["example.org/held"]))
        await admin("create", "-f", "-", given=MIGRATION)
        await admin("delete", "namespace", "team", "--wait=false")
        await until(lambda: _refused(behind))

        ending = asyncio.create_task(_end(behind, "team"))
        await asyncio.sleep(0.5)
        assert not ending.done()
        await admin("patch", "vm", "testvm", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
        async with asyncio.timeout(20):
            await ending

        assert "NotFound" in (await admin.run("get", "namespace", "team"))[0]
        await admin("create", "namespace", "team")
        assert "created" in await admin("create", "-f", "-", given=machine())


async def _refused(behind: Cluster) -> bool:
    """Is a create refused because the namespace terminates?"""
    async with behind.http("admin") as http:
        answered = await http.post(f"{LIST}?dryRun=All", json=machine("late"))
    cause = {
        "reason": "NamespaceTerminating",
        "message": "namespace team is being terminated",
        "field": "metadata.namespace",
    }
    return answered.status_code == 403 and answered.json()["details"]["causes"] == [cause]


async def _end(behind: Cluster, namespace: str) -> None:
    """As the namespace controller: deletes every collection that discovery tells of until nothing is left, then finalizes."""
    async with behind.http("namespaces") as http:
        resources = (await http.get("/apis/kubevirt.io/v1alpha1")).json()["resources"]
        ours = [one["name"] for one in resources if one["namespaced"] and "deletecollection" in one["verbs"]]
        assert {"migrations", "pods", "virtualmachines"} <= set(ours)
        partial = {"accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
        left = True
        while left:
            left = False
            for name in ours:
                path = f"/apis/kubevirt.io/v1alpha1/namespaces/{namespace}/{name}"
                assert (await http.delete(path)).status_code == 200, name
                found = (await http.get(path, headers=partial)).json()
                assert found["kind"] == "PartialObjectMetadataList"
                left = left or bool(found["items"])
            await asyncio.sleep(0.1)
        found = (await http.get(f"/api/v1/namespaces/{namespace}")).json()
        done = await http.put(f"/api/v1/namespaces/{namespace}/finalize", json={**found, "spec": {"finalizers": []}})
        assert done.status_code == 200, done.text


async def test_what_happens_to_a_migration_is_told_in_the_clusters_events(behind: Cluster, postgres_url: str) -> None:
    alice = behind.kubectl("alice")
    async with drover(behind, postgres_url, workers=True):
        await behind.available()
        await alice("create", "-f", "-", given=MIGRATION)
        assert "met" in await alice("wait", "migration/testvm-migration", "--for=jsonpath={.status.phase}=Failed")

        async def is_told() -> bool:
            return "VMNotFound" in await alice("get", "events")

        await until(is_told)
        assert "VMNotFound" in await alice("describe", "migration", "testvm-migration")


# the command


async def test_without_a_database_of_its_own_choosing_it_does_not_start() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, ENTRY, "serve", "--aggregated",
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(ENTRY).parents[1])}, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        _, said = await process.communicate()

    assert process.returncode == 2
    assert said.decode().startswith("drover: --aggregated needs DROVER_DATABASE_URL") and said.count(b"\n") == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "name the cluster with --kubeconfig or DROVER_KUBECONFIG"),
        ({"tls": False}, "--aggregated speaks TLS"),
        ({"trust_loopback": True}, "DROVER_TRUST_LOOPBACK contradicts --aggregated"),
        ({"token_auth_file": "tokens.csv"}, "DROVER_TOKEN_AUTH_FILE contradicts --aggregated"),
        ({"kubeconfig": "/nonexistent/config"}, "cannot read the kubeconfig"),
    ],
)
async def test_what_contradicts_it_is_said_in_one_line(
    given: Document, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    settings = Settings(aggregated=True, database_url="postgresql://nowhere/x", **given)

    with pytest.raises(Misconfigured) as raised:
        async with running(settings, workers=False, trust=Trust(Authorities(), Authorities())):
            raise AssertionError("it runs")

    assert said in str(raised.value) and "\n" not in str(raised.value)


async def test_the_command_waits_for_the_cluster_serves_and_ends_at_a_signal(
    behind: Cluster, postgres_url: str, tmp_path: Path
) -> None:
    behind.kube.broken = True
    issued = behind.serving.server("drover.drover.svc")
    (tmp_path / "tls.crt").write_text(issued.certificate)
    (tmp_path / "tls.key").write_text(issued.key)
    variables = {
        "DROVER_DATABASE_URL": postgres_url, "DROVER_DATA_DIR": str(tmp_path), "DROVER_PORT": "0",
        "DROVER_KUBECONFIG": str(behind.kubeconfig("drover", tmp_path / "kubeconfig")),
        "DROVER_TLS_CERT": str(tmp_path / "tls.crt"), "DROVER_TLS_KEY": str(tmp_path / "tls.key"),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, ENTRY, "serve", "--aggregated", "--no-workers",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(ENTRY).parents[1]), **variables}, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while b"the cluster does not tell" not in await process.stderr.readline():
                assert process.returncode is None
            behind.kube.broken = False
            address = (await process.stdout.readline()).decode().split()[-1]
            behind.registered.address = address
            assert await process.stdout.readline() == b"behind a cluster\n"
            await behind.available()
            assert "No resources" in await behind.kubectl("bob")("get", "vm")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
