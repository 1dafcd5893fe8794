"""Kubernetes' role based access control, pure: what a rule allows, whether rules cover others, and how they are told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from app.machinery.access import Attributes
from app.machinery.go_json import quoted
from app.machinery.objects import Document

ALL = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """One PolicyRule: about resources, or about paths."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Empty: every name."""
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, document: Document) -> Rule:
        """A PolicyRule that its kind has found well."""
        return cls(
            tuple(document.get("verbs") or ()),
            tuple(document.get("apiGroups") or ()),
            tuple(document.get("resources") or ()),
            tuple(document.get("resourceNames") or ()),
            tuple(document.get("nonResourceURLs") or ()),
        )

    def document(self) -> Document:
        """As reviews tell it; what is empty is left out."""
        told = {
            "verbs": self.verbs,
            "apiGroups": self.groups,
            "resources": self.resources,
            "resourceNames": self.names,
            "nonResourceURLs": self.paths,
        }
        return {name: list(values) for name, values in told.items() if values}

    def allows(self, asked: Attributes) -> bool:
        """Does it allow that?"""
        if asked.verb not in self.verbs and ALL not in self.verbs:
            return False
        if not asked.resource:
            return any(_is_on(path, asked.path) for path in self.paths)
        return (
            (asked.group in self.groups or ALL in self.groups)
            and self._means(asked)
            and (not self.names or asked.name in self.names)
        )

    def _means(self, asked: Attributes) -> bool:
        """The resource; one with a subresource is not meant by its parent, but by `*/<subresource>`."""
        resources = self.resources
        if asked.full_resource in resources or ALL in resources:
            return True
        return bool(asked.subresource) and f"{ALL}/{asked.subresource}" in resources

    def __str__(self) -> str:
        """As escalations are refused: `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`."""
        parts = {
            "APIGroups": self.groups,
            "Resources": self.resources,
            "NonResourceURLs": self.paths,
            "ResourceNames": self.names,
            "Verbs": self.verbs,
        }
        return "{" + ", ".join(f"{name}:{listed(values)}" for name, values in parts.items() if values) + "}"


EVERYTHING = (Rule((ALL,), (ALL,), (ALL,)), Rule((ALL,), paths=(ALL,)))
"""What a cluster's administrator may."""


def listed(texts: Iterable[str]) -> str:
    """As Go's %q shows a list: `["a" "b"]`."""
    return f"[{' '.join(quoted(text) for text in texts)}]"


def _is_on(rule: str, path: str) -> bool:
    return rule in (ALL, path) or (rule.endswith(ALL) and path.startswith(rule.rstrip(ALL)))


def uncovered(owned: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """What of the wanted rules no owned one allows, taken apart to single verbs of single resources, then put together
    again by resource."""
    missing = [part for rule in wanted for part in _parts(rule) if not any(_covers(own, part) for own in owned)]
    return list(_compact(missing))


def _parts(rule: Rule) -> Iterator[Rule]:
    for group in rule.groups:
        for resource in rule.resources:
            for verb in rule.verbs:
                single = Rule((verb,), (group,), (resource,))
                yield from (replace(single, names=(name,)) for name in rule.names) if rule.names else (single,)
    for path in rule.paths:
        for verb in rule.verbs:
            yield Rule((verb,), paths=(path,))


def _covers(own: Rule, part: Rule) -> bool:
    """`part` is one verb of one resource or path."""
    if ALL not in own.verbs and part.verbs[0] not in own.verbs:
        return False
    if part.paths:
        return any(_is_on(path, part.paths[0]) for path in own.paths)
    return (
        (ALL in own.groups or part.groups[0] in own.groups)
        and _covers_resource(own.resources, part.resources[0])
        and (not own.names or (bool(part.names) and part.names[0] in own.names))
    )


def _covers_resource(own: Sequence[str], resource: str) -> bool:
    if ALL in own or resource in own:
        return True
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"{ALL}/{subresource}" in own


def _compact(rules: Sequence[Rule]) -> Iterator[Rule]:
    """Single verbs of the same resource, without names, become one rule; the others stay as they are."""
    together: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for rule in rules:
        if rule.resources and not rule.names:
            verbs = together.setdefault((rule.groups, rule.resources), [])
            verbs.extend(verb for verb in rule.verbs if verb not in verbs)
        else:
            yield rule
    for (groups, resources), verbs in together.items():
        yield Rule(tuple(verbs), groups, resources)
