"""From a path to what it names: a resource, perhaps one object of it, perhaps a subresource. No regular expressions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.api.errors import NoSuchPath, no_such_resource
from app.machinery.discovery import subresources
from app.machinery.errors import ApiError
from app.machinery.kind import GroupVersion, Kind
from app.machinery.names import self_link
from app.machinery.reviews import REVIEWS
from app.machinery.values import value
from app.store.base import Key, Scope


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A kind under one of the group versions that it is served under. There is one of each: compared by identity."""

    kind: Kind[Any, Any]
    group_version: GroupVersion

    @property
    def native(self) -> bool:
        """Served as it is stored."""
        return self.group_version == self.kind.group_version

    @property
    def in_protobuf(self) -> bool:
        """Compiled into kube-apiserver, which sends such objects as protobuf to who asks for that."""
        return self.kind.typed and self.native

    def link(self, namespace: str, name: str = "") -> str:
        """The path of an object, or of a list: its selfLink."""
        return self_link(self.kind, self.group_version, namespace, name)


@value()
class Target:
    """What a path names. `namespace` None: all of them, or a kind without."""

    served: Served
    namespace: str | None = None
    name: str = ""
    subresource: str = ""
    watch: bool = False
    """The old /watch/ prefix."""

    @property
    def kind(self) -> Kind[Any, Any]:
        return self.served.kind

    @property
    def key(self) -> Key:
        return Key(self.kind.resource, self.namespace or "", self.name)

    @property
    def scope(self) -> Scope:
        return Scope(self.kind.resource, self.namespace)


KNOWN, LONGEST_KNOWN = 1024, 256
"""So many paths of collections are remembered, none of more letters: there are few, and whatever is made is posted to one."""


class Routes:
    """Every path of every kind, found by taking the path apart."""

    def __init__(self, kinds: Iterable[Kind[Any, Any]]) -> None:
        self._served: dict[tuple[str, ...], dict[str, Served]] = {}
        self._known: dict[str, Target] = {}
        for kind in kinds:
            for group_version in kind.offered:
                prefix = tuple(group_version.path.strip("/").split("/"))
                self._served.setdefault(prefix, {})[kind.plural] = Served(kind, group_version)

    def missing(self, path: str) -> ApiError:
        """404 for a path that names nothing."""
        steps = tuple(step for step in path.split("/") if step)
        below = steps[: 2 if steps[:1] == ("api",) else 3]
        compiled = any(served.native and served.kind.typed for served in self._served.get(below, {}).values())
        asked = any(review.group_version.path == f"/{'/'.join(below)}" for review in REVIEWS)
        return no_such_resource() if compiled or asked or path.startswith("/api/") else NoSuchPath()

    def find(self, path: str) -> Target | None:
        """None for what is no resource's path."""
        known = self._known.get(path)
        if known is not None:
            return known
        found = self._found(path)
        if found is not None and not found.name and len(path) <= LONGEST_KNOWN:
            self._known[path] = found
            if len(self._known) > KNOWN:
                del self._known[next(iter(self._known))]
        return found

    def _found(self, path: str) -> Target | None:
        if "//" in path:
            return None
        steps = [step for step in path.split("/") if step]
        length = 2 if steps[:1] == ["api"] else 3
        plurals = self._served.get(tuple(steps[:length]))
        rest = steps[length:]
        if plurals is None or not rest:
            return None
        if rest[0] == "watch":
            return _watched(_find(plurals, rest[1:]))
        return _find(plurals, rest)


def _find(plurals: dict[str, Served], steps: Sequence[str]) -> Target | None:
    if len(steps) >= 3 and steps[0] == "namespaces":
        served = plurals.get(steps[2])
        if served is not None and served.kind.namespaced:
            return _target(served, steps[1], steps[3:])
    served = plurals.get(steps[0]) if steps else None
    if served is None or _is_below_no_namespace(served.kind, steps):
        return None
    if not served.kind.namespaced:
        return _target(served, None, steps[1:])
    return Target(served) if len(steps) == 1 else None


def _is_below_no_namespace(kind: Kind[Any, Any], steps: Sequence[str]) -> bool:
    """A resource that is not served, in a namespace, would read like a subresource of the namespace."""
    return kind.contains and len(steps) > 2 and all(below.name != steps[2] for below in subresources(kind))


def _target(served: Served, namespace: str | None, rest: Sequence[str]) -> Target | None:
    if len(rest) > 2 and served.kind.typed:
        return None
    # What follows the subresource of a custom resource, kube-apiserver does not look at.
    name, subresource = (*rest, "", "")[:2]
    return Target(served, namespace, name, subresource)


def _watched(target: Target | None) -> Target | None:
    if target is None or (target.subresource and target.kind.typed):
        return None
    return replace(target, watch=True)
