"""What rules allow, what covers what, and how it is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.machinery.access import Attributes, Decision, User
from app.machinery.bindings import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Bindings
from app.machinery.objects import Document
from app.machinery.rbac import Rule, uncovered

K = "kubevirt.io"
ALL = Rule(("*",), ("*",), ("*",))
MIGRATIONS = Rule(("get", "list"), (K,), ("migrations",))


def asked(verb: str, group: str, resource: str, name: str = "", namespace: str = "d") -> Attributes:
    plural, _, below = resource.partition("/")
    return Attributes(verb, group, "v1", plural, below, name, namespace)


@pytest.mark.parametrize(
    ("rule", "question", "allowed"),
    [
        (MIGRATIONS, asked("get", K, "migrations", "x"), True),
        (MIGRATIONS, asked("delete", K, "migrations", "x"), False),
        (MIGRATIONS, asked("get", "", "migrations", "x"), False),
        (MIGRATIONS, asked("get", K, "virtualmachines", "x"), False),
        (MIGRATIONS, asked("get", K, "migrations/status", "x"), False),
        (Rule(("get",), ("",), ("pods/log",)), asked("get", "", "pods/log", "p"), True),
        (Rule(("get",), ("",), ("pods/log",)), asked("get", "", "pods", "p"), False),
        (Rule(("get",), ("*",), ("*/status",)), asked("get", K, "migrations/status", "x"), True),
        (Rule(("get",), ("*",), ("*/status",)), asked("get", K, "migrations", "x"), False),
        (Rule(("*",), ("",), ("*",)), asked("impersonate", "", "users", "x"), True),
        (Rule(("get",), (K,), ("migrations",), ("x",)), asked("get", K, "migrations", "x"), True),
        (Rule(("get",), (K,), ("migrations",), ("x",)), asked("get", K, "migrations", "y"), False),
        (Rule(("get", "list"), (K,), ("migrations",), ("x",)), asked("list", K, "migrations"), False),
        (Rule(("deletecollection",), (K,), ("migrations",), ("x",)), asked("deletecollection", K, "migrations"), False),
        (Rule(("get",), paths=("/metrics",)), Attributes("get", path="/metrics"), True),
        (Rule(("get",), paths=("/metrics",)), Attributes("post", path="/metrics"), False),
        (Rule(("get",), paths=("/livez/*",)), Attributes("get", path="/livez/ping"), True),
        (Rule(("get",), paths=("/livez/*",)), Attributes("get", path="/livez"), False),
        (Rule(("get",), paths=("*",)), asked("get", K, "migrations", "x"), False),
        (ALL, Attributes("get", path="/metrics"), False),
    ],
)
def test_a_rule_allows(rule: Rule, question: Attributes, allowed: bool) -> None:
    assert rule.allows(question) is allowed


@pytest.mark.parametrize(
    ("owned", "wanted", "missing"),
    [
        ((ALL,), MIGRATIONS, []),
        ((MIGRATIONS,), MIGRATIONS, []),
        ((MIGRATIONS,), ALL, ['{APIGroups:["*"], Resources:["*"], Verbs:["*"]}']),
        (
            (MIGRATIONS,),
            Rule(("get", "delete", "patch"), (K,), ("migrations",)),
            ['{APIGroups:["kubevirt.io"], Resources:["migrations"], Verbs:["delete" "patch"]}'],
        ),
        ((MIGRATIONS,), Rule(("get",), (K,), ("migrations",), ("x",)), []),
        (
            (Rule(("get",), (K,), ("migrations",), ("x",)),),
            Rule(("get",), (K,), ("migrations",)),
            ['{APIGroups:["kubevirt.io"], Resources:["migrations"], Verbs:["get"]}'],
        ),
        (
            (Rule(("get",), (K,), ("migrations",), ("x",)),),
            Rule(("get",), (K,), ("migrations",), ("x", "y")),
            ['{APIGroups:["kubevirt.io"], Resources:["migrations"], ResourceNames:["y"], Verbs:["get"]}'],
        ),
        ((Rule(("get",), (K,), ("*/status",)),), Rule(("get",), (K,), ("migrations/status",)), []),
        ((Rule(("get",), paths=("/a/*",)),), Rule(("get",), paths=("/a/b", "/a/*")), []),
        (
            (Rule(("get",), paths=("/a/*",)),),
            Rule(("get",), paths=("*",)),
            ['{NonResourceURLs:["*"], Verbs:["get"]}'],
        ),
        (
            (Rule(("get",), (K,), ("migrations",)), Rule(("list",), (K,), ("migrations",))),
            MIGRATIONS,
            [],
        ),
    ],
)
def test_what_is_not_held_is_told(owned: tuple[Rule, ...], wanted: Rule, missing: list[str]) -> None:
    assert [str(rule) for rule in uncovered(owned, [wanted])] == missing


def named(name: str, namespace: str = "", **body: object) -> Document:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **body}


def bound(name: str, role: str, subject: Document, namespace: str = "") -> Document:
    kind, _, called = role.partition(" ")
    return named(name, namespace, roleRef={"kind": kind, "name": called}, subjects=[subject])


def user(name: str) -> Document:
    return {"kind": "User", "name": name}


VIEW = [{"verbs": ["get"], "apiGroups": [K], "resources": ["migrations"]}]


@pytest.fixture
def bindings() -> Bindings:
    made = Bindings()
    made.replace(CLUSTER_ROLES, [named("view", rules=VIEW)])
    made.replace(ROLES, [named("view", "a", rules=VIEW)])
    return made


def judged(bindings: Bindings, who: User, namespace: str) -> str:
    verdict = bindings.judge(who, asked("get", K, "migrations", "x", namespace))
    return f"{verdict.decision.value}; {verdict.reason}"


def test_a_cluster_role_binding_counts_everywhere(bindings: Bindings) -> None:
    bindings.put(CLUSTER_ROLE_BINDINGS, bound("all", "ClusterRole view", {"kind": "Group", "name": "movers"}))

    for namespace in ("a", "b", ""):
        assert judged(bindings, User("jane", ("movers",)), namespace) == (
            'allowed; RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "view" to Group "movers"'
        )
    assert judged(bindings, User("movers"), "a") == "no opinion; "


@pytest.mark.parametrize("role", ["ClusterRole view", "Role view"])
def test_a_role_binding_counts_in_its_namespace(bindings: Bindings, role: str) -> None:
    bindings.put(ROLE_BINDINGS, bound("one", role, user("jane"), "a"))

    kind = role.split()[0]
    assert judged(bindings, User("jane"), "a") == (
        f'allowed; RBAC: allowed by RoleBinding "one/a" of {kind} "view" to User "jane"'
    )
    assert judged(bindings, User("jane"), "b") == judged(bindings, User("jane"), "") == "no opinion; "
    assert judged(bindings, User("joe", ("jane",)), "a") == "no opinion; "


def test_a_service_account_is_of_the_bindings_namespace_unless_it_is_said(bindings: Bindings) -> None:
    bindings.put(ROLE_BINDINGS, bound("here", "Role view", {"kind": "ServiceAccount", "name": "bot"}, "a"))
    bindings.put(
        ROLE_BINDINGS, bound("there", "Role view", {"kind": "ServiceAccount", "name": "ant", "namespace": "b"}, "a")
    )

    assert judged(bindings, User("system:serviceaccount:a:bot"), "a").startswith("allowed")
    assert judged(bindings, User("system:serviceaccount:b:ant"), "a").startswith("allowed")
    assert judged(bindings, User("system:serviceaccount:b:bot"), "a") == "no opinion; "


def test_a_role_that_is_not_there_is_told(bindings: Bindings) -> None:
    bindings.put(CLUSTER_ROLE_BINDINGS, bound("all", "ClusterRole none", user("jane")))

    assert judged(bindings, User("jane"), "a") == (
        'no opinion; RBAC: clusterrole.rbac.authorization.k8s.io "none" not found'
    )


def test_changes_count_at_once(bindings: Bindings) -> None:
    binding = bound("one", "Role view", user("jane"), "a")
    seen = [bindings.judge(User("jane"), asked("get", K, "migrations", "x", "a")).decision]
    changes: list[Callable[[], None]] = [
        lambda: bindings.put(ROLE_BINDINGS, binding),
        lambda: bindings.put(ROLES, named("view", "a", rules=[])),
        lambda: bindings.put(ROLES, named("view", "a", rules=VIEW)),
        lambda: bindings.remove(ROLE_BINDINGS, binding),
    ]
    for change in changes:
        change()
        seen.append(bindings.judge(User("jane"), asked("get", K, "migrations", "x", "a")).decision)

    no, yes = Decision.NO_OPINION, Decision.ALLOWED
    assert seen == [no, yes, no, yes, no]
