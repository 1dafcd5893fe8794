"""What a request asks for, in Kubernetes' words, and what the gate says to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.api.auth.attributes import attributes_of
from app.api.auth.base import AnyAuthenticator, AnyAuthorizer
from app.api.auth.basics import Basics
from app.api.auth.gate import Gate
from app.api.auth.masters import MastersMay
from app.api.auth.tokenfile import TokenFile
from app.api.routes import Routes
from app.kinds import ALL
from app.machinery.access import ALLOWED, NO_OPINION, Attributes, User, Verdict
from app.machinery.errors import ApiError
from tests.api.auth.people import request

ROUTES = Routes(ALL)
K = "/apis/kubevirt.io/v1alpha1"
IN = f"{K}/namespaces/d"

ASKED = {
    f"GET {IN}/migrations/x": "get migrations x d",
    f"HEAD {IN}/migrations/x": "get migrations x d",
    f"GET {IN}/migrations": "list migrations - d",
    f"GET {K}/migrations": "list migrations - -",
    f"GET {IN}/migrations?watch=1": "watch migrations - d",
    f"GET {IN}/migrations?watch=false": "list migrations - d",
    f"GET {K}/watch/migrations": "watch migrations - -",
    f"GET {K}/watch/namespaces/d/migrations/x": "watch migrations x d",
    f"GET {IN}/migrations?fieldSelector=metadata.name%3Dx": "list migrations x d",
    f"GET {IN}/migrations?watch=true&fieldSelector=metadata.name=x,spec.a=b": "watch migrations x d",
    f"GET {IN}/migrations?fieldSelector=metadata.name!=x": "list migrations - d",
    f"GET {IN}/migrations?fieldSelector=metadata.name=..": "list migrations - d",
    f"POST {IN}/migrations": "create migrations - d",
    f"PUT {IN}/migrations/x": "update migrations x d",
    f"PATCH {IN}/migrations/x/status": "patch migrations/status x d",
    f"DELETE {IN}/migrations/x": "delete migrations x d",
    f"DELETE {IN}/migrations": "deletecollection migrations - d",
    f"GET {IN}/migrations/x/": "get migrations x d",
    f"GET {IN}//migrations//x": "get migrations x d",
    f"OPTIONS {IN}/migrations/x": " migrations x d",
    f"GET {IN}/unknowns/x/scale": "get unknowns/scale x d",
    "GET /api/v1/pods": "list pods - -",
    "POST /api/v1/namespaces/d/pods/p/eviction": "create pods/eviction p d",
    "GET /api/v1/namespaces/d/pods/p/log": "get pods/log p d",
    "GET /api/v1/namespaces": "list namespaces - -",
    "GET /api/v1/namespaces/d": "get namespaces d d",
    "PUT /api/v1/namespaces/d/finalize": "update namespaces/finalize d d",
    "GET /api/v1/nodes/n": "get nodes n -",
    "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews": "create selfsubjectaccessreviews - -",
    "GET /api/v1/namespaces/d/services": "list services - d",
}


@pytest.mark.parametrize("asked", ASKED)
def test_a_request_asks_for(asked: str) -> None:
    method, _, url = asked.partition(" ")
    made = request(method, url)

    found = attributes_of(ROUTES.find(made.path), made)

    assert f"{found.verb} {found.full_resource} {found.name or '-'} {found.namespace or '-'}" == ASKED[asked]
    assert found.path == made.path


@pytest.mark.parametrize("path", ["/", "/version", "/apis", "/apis/kubevirt.io", K, "/api/v1", "/openapi/v2", "/x/y/z"])
def test_other_paths_are_no_resources(path: str) -> None:
    assert attributes_of(ROUTES.find(path), request("GET", path)) == Attributes("get", path=path)


class May:
    """Allows what it is told to, in the words of ASKED."""

    def __init__(self, *allowed: str) -> None:
        self._allowed = allowed

    async def authorize(self, user: User, asked: Attributes) -> Verdict:
        words = f"{user.name}: {asked.verb} {asked.full_resource} {asked.name or '-'} {asked.namespace or '-'}"
        return ALLOWED if words in self._allowed else NO_OPINION


def gate(tmp_path: Path, *allowed: str) -> Gate:
    tokens = tmp_path / "tokens"
    tokens.write_text('jane,jane,\nroot,root,,"system:masters"\n')
    return Gate(AnyAuthenticator([TokenFile(tokens)]), AnyAuthorizer([MastersMay(), May(*allowed), Basics()]))


async def judged(gate: Gate, method: str, url: str, *headers: tuple[str, str]) -> str:
    """Whom it is for, or the refusal."""
    made = request(method, url, headers)
    try:
        await gate.identify(made)
        await gate.admit(made, ROUTES.find(made.path))
    except ApiError as error:
        return f"{error.code} {error.message}"
    return f"{made.user.name} [{', '.join(made.user.groups)}]" + (
        f" by {made.impersonator.name}" if made.impersonator else ""
    )


JANE = ("Authorization", "Bearer jane")
ROOT = ("Authorization", "Bearer root")


async def test_what_is_refused_is_said_as_kubernetes_says_it(tmp_path: Path) -> None:
    closed = gate(tmp_path)

    assert await judged(closed, "GET", f"{IN}/migrations/x", JANE) == (
        '403 migrations.kubevirt.io "x" is forbidden: User "jane" cannot get resource "migrations" in API group '
        '"kubevirt.io" in the namespace "d"'
    )
    assert await judged(closed, "GET", "/api/v1/nodes", JANE) == (
        '403 nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope'
    )
    assert await judged(closed, "PATCH", f"{IN}/migrations/x/status", JANE) == (
        '403 migrations.kubevirt.io "x" is forbidden: User "jane" cannot patch resource "migrations/status" in API group '
        '"kubevirt.io" in the namespace "d"'
    )
    assert await judged(closed, "GET", "/a<b>&c", JANE) == (
        '403 forbidden: User "jane" cannot get path "/a&lt;b&gt;&amp;c"'
    )
    assert await judged(closed, "GET", "/apis") == '403 forbidden: User "system:anonymous" cannot get path "/apis"'
    assert await judged(closed, "GET", "/livez", ("Authorization", "Bearer wrong")) == "401 Unauthorized"


async def test_who_is_allowed_comes_in(tmp_path: Path) -> None:
    opened = gate(tmp_path, "jane: get migrations x d")

    assert await judged(opened, "GET", f"{IN}/migrations/x", JANE) == "jane [system:authenticated]"
    assert await judged(opened, "DELETE", f"{IN}/migrations/x", JANE) != "jane [system:authenticated]"
    assert await judged(opened, "DELETE", "/api/v1/nodes", ROOT) == "root [system:masters, system:authenticated]"
    assert await judged(opened, "GET", "/livez") == "system:anonymous [system:unauthenticated]"
    assert await judged(opened, "GET", "/apis", JANE) == "jane [system:authenticated]"


AS_JOE = ("Impersonate-User", "joe")


async def test_acting_as_somebody_else_needs_the_right_to_each_part_of_it(tmp_path: Path) -> None:
    user, group = "jane: impersonate users joe -", "jane: impersonate groups movers -"
    extra, uid = "jane: impersonate userextras/team a -", "jane: impersonate uids 7 -"
    does = "joe: get nodes n -"
    words = (AS_JOE, ("Impersonate-Group", "movers"), ("Impersonate-Extra-Team", "a"), ("Impersonate-Uid", "7"))
    all_of_it = gate(tmp_path, user, group, extra, uid, does)

    assert await judged(all_of_it, "GET", "/api/v1/nodes/n", JANE, *words) == (
        "joe [movers, system:authenticated] by jane"
    )
    for missing in (user, group, extra, uid):
        rest = {user, group, extra, uid, does} - {missing}
        answer = await judged(gate(tmp_path, *rest), "GET", "/api/v1/nodes/n", JANE, *words)
        assert answer.startswith("403 ") and 'User "jane" cannot impersonate resource' in answer
    rest = {user, group, extra, uid}
    assert 'User "joe" cannot get' in await judged(gate(tmp_path, *rest), "GET", "/api/v1/nodes/n", JANE, *words)


async def test_a_service_account_is_acted_as_in_its_namespace(tmp_path: Path) -> None:
    account = ("Impersonate-User", "system:serviceaccount:d:mover")
    allowed = gate(
        tmp_path,
        "jane: impersonate serviceaccounts mover d",
        "system:serviceaccount:d:mover: get nodes n -",
    )

    assert await judged(allowed, "GET", "/api/v1/nodes/n", JANE, account) == (
        "system:serviceaccount:d:mover [system:serviceaccounts, system:serviceaccounts:d, system:authenticated] by jane"
    )


async def test_a_group_of_nobody_is_400(tmp_path: Path) -> None:
    answer = await judged(gate(tmp_path), "GET", "/livez", ROOT, ("Impersonate-Group", "movers"))

    shown = 'Name:"", UID:"", Groups:[]string{"movers"}, Extra:map[string][]string(nil)'
    assert answer == f"400 requested &user.DefaultInfo{{{shown}}} without impersonating a user name"


async def test_strangers_act_as_nobody(tmp_path: Path) -> None:
    assert "cannot impersonate" in await judged(gate(tmp_path), "GET", "/livez", AS_JOE)
