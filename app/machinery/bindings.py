"""Roles and bindings in memory: which rules hold for a user in a namespace, and by which binding. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from app.machinery.access import NO_OPINION, SERVICE_ACCOUNT, Attributes, Decision, User, Verdict
from app.machinery.errors import not_found
from app.machinery.go_json import quoted
from app.machinery.objects import Document
from app.machinery.rbac import Rule

GROUP = "rbac.authorization.k8s.io"
ROLES, CLUSTER_ROLES = f"roles.{GROUP}", f"clusterroles.{GROUP}"
ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS = f"rolebindings.{GROUP}", f"clusterrolebindings.{GROUP}"
RESOURCES = (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)

MOST_KEPT = 4096
"""Users by namespace whose rules are kept; more of them, and all are found anew."""

Name = tuple[str, str]
"""Namespace ("" for what has none) and name."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A rule, and what to say of it when it allows something."""

    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class Granted:
    """Everything that holds for a user in a namespace, and roles that bindings name and that are not there."""

    grants: tuple[Grant, ...]
    problems: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(grant.rule for grant in self.grants)

    def judge(self, asked: Attributes) -> Verdict:
        """ALLOWED by the first rule that does, with its binding; else no opinion, with what could not be found."""
        for grant in self.grants:
            if grant.rule.allows(asked):
                return Verdict(Decision.ALLOWED, grant.reason)
        return Verdict(Decision.NO_OPINION, f"RBAC: {together(self.problems)}") if self.problems else NO_OPINION


def together(problems: Iterable[str]) -> str:
    """Several errors as Kubernetes tells them."""
    told = list(dict.fromkeys(problems))
    return told[0] if len(told) == 1 else f"[{', '.join(told)}]"


@dataclass
class Bindings:
    """Every role and binding. Changed by resource; what follows from them is found when it is asked for, and kept."""

    _objects: dict[str, dict[Name, Document]] = field(default_factory=lambda: {name: {} for name in RESOURCES})
    _by_namespace: dict[str, dict[str, Document]] = field(default_factory=dict)
    """RoleBindings."""
    _rules: dict[tuple[str, Name], tuple[Rule, ...]] = field(default_factory=dict)
    _kept: dict[tuple[User, str], Granted] = field(default_factory=dict)

    def replace(self, resource: str, documents: Iterable[Document]) -> None:
        """These are all that there are."""
        self._objects[resource] = {_name(document): document for document in documents}
        self._forget(resource)

    def put(self, resource: str, document: Document) -> None:
        self._objects[resource][_name(document)] = document
        self._forget(resource)

    def remove(self, resource: str, document: Document) -> None:
        self._objects[resource].pop(_name(document), None)
        self._forget(resource)

    def _forget(self, resource: str) -> None:
        self._kept.clear()
        if resource in (ROLES, CLUSTER_ROLES):
            self._rules.clear()
        elif resource == ROLE_BINDINGS:
            self._by_namespace = {}
            for (namespace, name), document in self._objects[ROLE_BINDINGS].items():
                self._by_namespace.setdefault(namespace, {})[name] = document

    def granted(self, user: User, namespace: str) -> Granted:
        """What holds for the user there; "" is the cluster scope."""
        key = (user, namespace)
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            found = self._kept[key] = self._find(user, namespace)
        return found

    def judge(self, user: User, asked: Attributes) -> Verdict:
        return self.granted(user, asked.namespace).judge(asked)

    def rules_of(self, reference: Document, namespace: str) -> tuple[Rule, ...] | None:
        """A role's rules; None where there is no such role."""
        resource = ROLES if reference.get("kind") == "Role" else CLUSTER_ROLES
        name = (namespace if resource == ROLES else "", str(reference.get("name")))
        rules = self._rules.get((resource, name))
        if rules is None:
            document = self._objects[resource].get(name)
            if document is None:
                return None
            rules = self._rules[resource, name] = tuple(Rule.of(rule) for rule in document.get("rules") or ())
        return rules

    def _find(self, user: User, namespace: str) -> Granted:
        grants: list[Grant] = []
        problems: list[str] = []
        for binding, told in self._bindings(namespace):
            subject = _subject(binding, user, namespace)
            if subject is None:
                continue
            rules = self.rules_of(binding["roleRef"], namespace)
            if rules is None:
                problems.append(_missing(binding["roleRef"]))
                continue
            reason = f"RBAC: allowed by {told(binding)} to {_described(subject, namespace)}"
            grants.extend(Grant(rule, reason) for rule in rules)
        return Granted(tuple(grants), tuple(problems))

    def _bindings(self, namespace: str) -> Iterator[tuple[Document, Callable[[Document], str]]]:
        for document in self._objects[CLUSTER_ROLE_BINDINGS].values():
            yield document, _cluster_binding
        if namespace:
            for document in self._by_namespace.get(namespace, {}).values():
                yield document, _role_binding


def _name(document: Document) -> Name:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _subject(binding: Document, user: User, namespace: str) -> Document | None:
    """As whom of the binding's subjects the user is meant."""
    for subject in binding.get("subjects") or ():
        if _is_meant(subject, user, namespace):
            found: Document = subject
            return found
    return None


def _is_meant(subject: Document, user: User, namespace: str) -> bool:
    match subject.get("kind"):
        case "User":
            return bool(subject["name"] == user.name)
        case "Group":
            return subject["name"] in user.groups
        case "ServiceAccount":
            where = subject.get("namespace") or namespace
            return bool(where) and user.name == f"{SERVICE_ACCOUNT}{where}:{subject['name']}"
        case _:
            return False


def _described(subject: Document, namespace: str) -> str:
    name = subject["name"]
    if subject["kind"] == "ServiceAccount":
        name = f"{name}/{subject.get('namespace') or namespace}"
    return f"{subject['kind']} {quoted(name)}"


def _cluster_binding(binding: Document) -> str:
    return f"ClusterRoleBinding {quoted(binding['metadata']['name'])} of {_role(binding['roleRef'])}"


def _role_binding(binding: Document) -> str:
    metadata = binding["metadata"]
    return f"RoleBinding {quoted(metadata['name'] + '/' + metadata['namespace'])} of {_role(binding['roleRef'])}"


def _role(reference: Any) -> str:
    return f"{reference['kind']} {quoted(reference['name'])}"


def _missing(reference: Document) -> str:
    return not_found(str(reference["kind"]).lower(), GROUP, str(reference["name"])).message
