"""Roles as they are served and enforced: kubectl makes them, the gate judges by them, nobody gives away what they lack."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from app.machinery.objects import Document
from tests.api.auth.conftest import Drover, until

K = "/apis/kubevirt.io/v1alpha1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
A, B = f"{K}/namespaces/a/migrations", f"{K}/namespaces/b/migrations"


def migration(name: str) -> Document:
    return {
        "apiVersion": "kubevirt.io/v1alpha1", "kind": "Migration", "metadata": {"name": name},
        "spec": {"selector": {"name": "vm"}},
    }  # fmt: skip


async def namespaces(root: httpx.AsyncClient, *names: str) -> None:
    for name in names:
        made = await root.post("/api/v1/namespaces", json={"metadata": {"name": name}})
        assert made.status_code == 201, made.text


async def code_of(answer: Any) -> tuple[int, str]:
    got = await answer
    return got.status_code, got.json().get("message", "")


async def test_kubectl_makes_roles_and_they_are_enforced(drover: Drover) -> None:
    root, jane = drover.kubectl("root"), drover.kubectl("jane")
    for words in (
        "create namespace a",
        "create namespace b",
        "create serviceaccount bot -n a",
        "create role mover -n a --verb=get,list,create,delete --resource=migrations.kubevirt.io",
        "create rolebinding movers -n a --role=mover --group=movers --serviceaccount=a:bot",
        "create clusterrole looker --verb=get --non-resource-url=/metrics",
        "create clusterrolebinding lookers --clusterrole=looker --user=jane",
        "create rolebinding viewers -n b --clusterrole=view --user=jane",
    ):
        await root(*words.split())
    client = drover.by_token("jane")
    await until(client, B, 200)
    await until(client, "/metrics", 200)

    table = await root("get", "rolebindings", "-n", "a", "-o", "wide")
    listed = await jane("auth", "can-i", "--list", "-n", "a")
    answers = [
        (await jane.run("auth", "can-i", *words.split()))[0].splitlines()[-1]
        for words in (
            "create migrations.kubevirt.io -n a",
            "create migrations.kubevirt.io -n b",
            "list migrations.kubevirt.io -n b",
            "watch migrations.kubevirt.io -n a",
            "get pods --subresource=log -n b",
            "get /metrics",
            "get nodes",
            "create migrations.kubevirt.io -n a --as=joe",
        )
    ]
    bot = await root("auth", "can-i", "create", "migrations.kubevirt.io", "-n", "a", "--as=system:serviceaccount:a:bot")

    printed = table.split()
    assert printed[:6] == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    assert printed[6:8] + printed[9:] == ["movers", "Role/mover", "movers", "a/bot"]
    assert ["migrations.kubevirt.io", "[]", "[]", "[get", "list", "create", "delete]"] in [
        line.split() for line in listed.splitlines()
    ]
    assert ["[/metrics]", "[]", "[get]"] in [line.split() for line in listed.splitlines()]
    assert answers[:7] == ["yes", "no", "yes", "no", "yes", "yes", "no"]
    assert 'users "joe" is forbidden: User "jane" cannot impersonate' in answers[7]
    assert bot.splitlines()[-1] == "yes"
    assert await code_of(client.post(A, json=migration("m"))) == (201, "")
    assert await code_of(client.post(B, json=migration("m"))) == (
        403,
        'migrations.kubevirt.io is forbidden: User "jane" cannot create resource "migrations" in API group "kubevirt.io" in '
        'the namespace "b"',
    )
    assert (await code_of(client.patch(f"{A}/m", json={})))[0] == 403
    assert (await code_of(client.get(f"{K}/migrations")))[0] == 403
    assert (await code_of(client.get(f"{A}?watch=1&timeoutSeconds=1")))[0] == 403
    assert (await code_of(client.delete(A)))[0] == 403
    assert (await code_of(client.delete(f"{A}/m")))[0] == 200


async def test_apply_makes_nothing_for_who_may_only_patch(drover: Drover) -> None:
    await namespaces(drover.root, "a")
    rules = [{"verbs": ["get", "patch"], "apiGroups": ["kubevirt.io"], "resources": ["migrations"]}]
    await drover.root.post(f"{RBAC}/namespaces/a/roles", json={"metadata": {"name": "p"}, "rules": rules})
    reference = {"kind": "Role", "name": "p", "apiGroup": "rbac.authorization.k8s.io"}
    subject = {"kind": "User", "name": "jane"}
    binding = {"metadata": {"name": "p"}, "roleRef": reference, "subjects": [subject]}
    assert (await drover.root.post(f"{RBAC}/namespaces/a/rolebindings", json=binding)).status_code == 201
    jane = drover.by_token("jane")
    await until(jane, f"{A}/m", 404)

    applied = await jane.patch(
        f"{A}/m?fieldManager=x", json=migration("m"), headers={"Content-Type": "application/apply-patch+yaml"}
    )

    assert applied.status_code == 403
    assert applied.json()["message"].startswith(
        'migrations.kubevirt.io "m" is forbidden: User "jane" cannot create resource "migrations"'
    )
    assert (await drover.root.get(A)).json()["items"] == []


def rule(*verbs: str, resource: str = "migrations") -> Document:
    return {"verbs": list(verbs), "apiGroups": ["kubevirt.io"], "resources": [resource]}


def binds(name: str, role: str, user: str) -> Document:
    kind, _, called = role.partition(" ")
    return {
        "metadata": {"name": name}, "roleRef": {"kind": kind, "name": called, "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "User", "name": user}],
    }  # fmt: skip


async def test_nobody_gives_away_what_they_do_not_have(drover: Drover) -> None:
    root, jane = drover.root, drover.by_token("jane")
    await namespaces(root, "a")
    roles, bindings = f"{RBAC}/namespaces/a/roles", f"{RBAC}/namespaces/a/rolebindings"
    await root.post(bindings, json=binds("admins", "ClusterRole admin", "jane"))
    await until(jane, roles, 200)

    less = await jane.post(roles, json={"metadata": {"name": "less"}, "rules": [rule("get", "create")]})
    more = await jane.post(
        roles, json={"metadata": {"name": "more"}, "rules": [rule("get"), rule("get", "create", resource="nodes")]}
    )
    grown = await jane.put(f"{roles}/less", json={"metadata": {"name": "less"}, "rules": [rule("*")]})
    patched = await jane.patch(
        f"{roles}/less", json={"rules": [rule("*")]}, headers={"Content-Type": "application/merge-patch+json"}
    )
    labelled = await jane.patch(
        f"{roles}/less",
        json={"metadata": {"labels": {"a": "b"}}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    bound = await jane.post(bindings, json=binds("mine", "ClusterRole cluster-admin", "jane"))
    nothing = await jane.post(bindings, json=binds("none", "Role missing", "jane"))
    within = await jane.post(bindings, json=binds("less", "Role less", "joe"))
    rebound = await root.put(f"{bindings}/admins", json=binds("admins", "ClusterRole view", "jane"))

    assert less.status_code == 201, less.text
    assert (more.status_code, more.json()["message"]) == (
        403,
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "jane" (groups=["movers" "system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:["kubevirt.io"], Resources:["nodes"], Verbs:["get" "create"]}',
    )
    assert [grown.status_code, patched.status_code, labelled.status_code] == [403, 403, 200]
    assert bound.status_code == 403
    assert bound.json()["message"].startswith('rolebindings.rbac.authorization.k8s.io "mine" is forbidden: user "jane"')
    assert (nothing.status_code, nothing.json()["message"]) == (
        404,
        'roles.rbac.authorization.k8s.io "missing" not found',
    )
    assert within.status_code == 201, within.text
    assert rebound.status_code == 422 and "cannot change roleRef" in rebound.text
    assert {item["metadata"]["name"] for item in (await root.get(roles)).json()["items"]} == {"less"}


async def test_who_may_bind_and_escalate_does(drover: Drover) -> None:
    root, joe = drover.root, drover.by_token("joe")
    await namespaces(root, "a")
    roles, bindings = f"{RBAC}/namespaces/a/roles", f"{RBAC}/namespaces/a/rolebindings"
    powers: list[Document] = [
        {"verbs": ["create", "get", "escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]},
        {"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"]},
        {"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["edit"]},
    ]  # fmt: skip
    await root.post(roles, json={"metadata": {"name": "powers"}, "rules": powers})
    await root.post(bindings, json=binds("powers", "Role powers", "joe"))
    await until(joe, f"{roles}/powers", 200)

    codes = [
        (await joe.post(roles, json={"metadata": {"name": "more"}, "rules": [rule("*")]})).status_code,
        (await joe.post(bindings, json=binds("edit", "ClusterRole edit", "joe"))).status_code,
        (await joe.post(bindings, json=binds("admin", "ClusterRole admin", "joe"))).status_code,
    ]

    assert codes == [201, 201, 403]


async def test_roles_are_put_together_by_their_labels(drover: Drover) -> None:
    root = drover.root
    label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    extra = {"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["things"]}

    view = (await root.get(f"{RBAC}/clusterroles/view")).json()
    admin = (await root.get(f"{RBAC}/clusterroles/admin")).json()
    made = await root.post(
        f"{RBAC}/clusterroles", json={"metadata": {"name": "more", "labels": label}, "rules": [extra]}
    )
    assert made.status_code == 201, made.text
    async with asyncio.timeout(20):
        while extra not in (await root.get(f"{RBAC}/clusterroles/admin")).json()["rules"]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)

    seen = {resource for found in view["rules"] for resource in found["resources"]}
    assert {"migrations", "virtualmachines", "pods", "pods/log", "events", "namespaces"} <= seen
    assert all(found in admin["rules"] for found in view["rules"])
    assert any("migrations" in found["resources"] and "create" in found["verbs"] for found in admin["rules"])


async def test_who_applies_what_is_there_from_the_start_finds_its_owner(drover: Drover) -> None:
    rules: Document = {"rules": [{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["things"]}]}
    config = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", **rules}

    refused = await drover.root.patch(
        f"{RBAC}/clusterroles/kubevirt.io:migrate?fieldManager=jane",
        json=config,
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    owners = [
        [entry["manager"] for entry in (await drover.root.get(path)).json()["metadata"]["managedFields"]]
        for path in (
            f"{RBAC}/clusterroles/admin",
            f"{RBAC}/clusterrolebindings/cluster-admin",
            "/api/v1/namespaces/default",
        )
    ]

    assert refused.status_code == 409
    assert 'conflict with "drover"' in refused.json()["message"]
    assert owners == [["drover"]] * 3


async def test_only_the_administrator_puts_roles_together(drover: Drover) -> None:
    root, jane = drover.root, drover.by_token("jane")
    powers = [
        {"verbs": ["create", "get"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": [resource]}
        for resource in ("clusterroles", "clusterrolebindings")
    ]
    await root.post(f"{RBAC}/clusterroles", json={"metadata": {"name": "powers"}, "rules": powers})
    await root.post(f"{RBAC}/clusterrolebindings", json=binds("powers", "ClusterRole powers", "jane"))
    await until(jane, f"{RBAC}/clusterroles/powers", 200)
    selector = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}

    refused = await jane.post(f"{RBAC}/clusterroles", json={"metadata": {"name": "x"}, "aggregationRule": selector})

    assert (refused.status_code, refused.json()["message"]) == (
        403,
        'clusterroles.rbac.authorization.k8s.io "x" is forbidden: must have cluster-admin privileges to use the '
        "aggregationRule",
    )


async def test_reviews_answer_by_the_same_roles(drover: Drover) -> None:
    root, jane = drover.root, drover.by_token("jane")
    await namespaces(root, "a")
    await root.post(f"{RBAC}/namespaces/a/rolebindings", json=binds("v", "ClusterRole view", "joe"))
    await until(drover.by_token("joe"), A, 200)
    access = "/apis/authorization.k8s.io/v1"
    wants = {"namespace": "a", "verb": "list", "group": "kubevirt.io", "resource": "migrations"}
    asks = {"user": "joe", "resourceAttributes": wants}

    about_joe = (await root.post(f"{access}/subjectaccessreviews", json={"spec": asks})).json()
    of_b = asks | {"resourceAttributes": wants | {"namespace": "b"}}
    elsewhere = (await root.post(f"{access}/subjectaccessreviews", json={"spec": of_b})).json()
    locally = await root.post(f"{access}/namespaces/a/localsubjectaccessreviews", json={"spec": asks})
    wrong = await root.post(f"{access}/namespaces/b/localsubjectaccessreviews", json={"spec": asks})
    not_hers = await jane.post(f"{access}/subjectaccessreviews", json={"spec": asks})
    own = (await jane.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={})).json()
    token = (await root.post("/apis/authentication.k8s.io/v1/tokenreviews", json={"spec": {"token": "jane"}})).json()
    made_up = (await root.post("/apis/authentication.k8s.io/v1/tokenreviews", json={"spec": {"token": "x"}})).json()

    assert about_joe["status"] == {
        "allowed": True,
        "reason": 'RBAC: allowed by RoleBinding "v/a" of ClusterRole "view" to User "joe"',
    }
    assert elsewhere["status"] == {"allowed": False}
    assert locally.json()["status"]["allowed"] is True
    assert (wrong.status_code, not_hers.status_code) == (422, 403)
    assert own["status"]["userInfo"] == {"username": "jane", "uid": "1", "groups": ["movers", "system:authenticated"]}
    assert token["status"]["user"]["username"] == "jane" and token["status"]["authenticated"] is True
    assert made_up["status"] == {"user": {}, "error": "invalid bearer token"}


async def test_strangers_see_health_and_version_and_users_what_is_served(drover: Drover) -> None:
    paths = (
        "/livez",
        "/readyz",
        "/healthz",
        "/version",
        "/api",
        "/apis",
        "/apis/kubevirt.io",
        "/openapi/v2",
        "/metrics",
        "/",
    )
    seen = {
        who: [path for path in paths if (await drover.by_token(who).get(path)).status_code == 200]
        for who in ("", "joe", "root")
    }

    assert seen[""] == ["/livez", "/readyz", "/healthz", "/version"]
    assert seen["joe"] == [path for path in paths if path not in ("/metrics", "/")]
    assert seen["root"] == list(paths)
