"""Node selectors and node affinity, as core v1 has them: which nodes match."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_

from app.controllers.placement.fleet import Index, Nodes
from app.machinery.objects import Document

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def selected(selector: Mapping[str, str], index: Index) -> Nodes:
    """The nodes that carry all of these labels."""
    found = index.everyone
    for key, value in selector.items():
        found &= index.labelled(key).get(value, 0)
    return found


def required(affinity: Document, index: Index) -> Nodes:
    """Terms are alternatives; no requirement matches every node, and a requirement without terms none."""
    wanted = affinity.get(REQUIRED)
    if wanted is None:
        return index.everyone
    return reduce(or_, (matching(term, index) for term in wanted.get("nodeSelectorTerms") or ()), 0)


def matching(term: Document, index: Index) -> Nodes:
    """All of its expressions and fields; a term without any matches no node, as in Kubernetes."""
    expressions: Sequence[Document] = term.get("matchExpressions") or ()
    fields: Sequence[Document] = term.get("matchFields") or ()
    if not expressions and not fields:
        return 0
    found = index.everyone
    for expression in expressions:
        found &= _satisfying(expression, index.labelled(expression.get("key", "")), index.everyone)
    for field in fields:
        found &= _named(field, index)
    return found


def _named(field: Document, index: Index) -> Nodes:
    """metadata.name is the only field, and every node has one."""
    named = reduce(or_, (index.one(str(name)) for name in field.get("values") or ()), 0)
    match field.get("operator"), field.get("key"):
        case "In", "metadata.name":
            return named
        case "NotIn", "metadata.name":
            return index.everyone ^ named
        case _:
            return 0


def _satisfying(requirement: Document, labelled: Mapping[str, Nodes], everyone: Nodes) -> Nodes:
    wanted = [str(value) for value in requirement.get("values") or ()]
    match requirement.get("operator"):
        case "In":
            return reduce(or_, (labelled.get(value, 0) for value in wanted), 0)
        case "NotIn":
            return everyone ^ reduce(or_, (labelled.get(value, 0) for value in wanted), 0)
        case "Exists":
            return reduce(or_, labelled.values(), 0)
        case "DoesNotExist":
            return everyone ^ reduce(or_, labelled.values(), 0)
        case "Gt":
            return _comparing(wanted, labelled, lambda one, other: one > other)
        case "Lt":
            return _comparing(wanted, labelled, lambda one, other: one < other)
        case _:
            return 0


def _comparing(wanted: Sequence[str], labelled: Mapping[str, Nodes], holds: Callable[[int, int], bool]) -> Nodes:
    bound = _integer(wanted[0]) if len(wanted) == 1 else None
    if bound is None:
        return 0
    found = 0
    for value, nodes in labelled.items():
        number = _integer(value)
        if number is not None and holds(number, bound):
            found |= nodes
    return found


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
