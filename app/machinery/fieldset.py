"""Sets of field paths, in the form in which they are stored and shown: FieldsV1.

A node has one member for each step down: `f:name` is a field, `k:{"name":"d1"}` an item of a list of type map,
`v:"x"` an item of a set, `i:0` an item by its place. A path is in the set when its node is empty or has the member `.`;
otherwise only paths below it are. The root itself is never in the set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

FieldSet = dict[str, Any]
"""FieldsV1. Treated as a value: nodes are shared between sets, so none is changed in place."""

Path = tuple[str, ...]

SELF = "."
_ORDER = "fkvi"


class NotFields(ValueError):
    """What was sent is no FieldsV1."""


def is_member(node: FieldSet) -> bool:
    return not node or SELF in node


def node_of(children: FieldSet, *, member: bool) -> FieldSet | None:
    """The node that has these children and is or is not itself in the set; None when there is nothing to say."""
    if not children:
        return {} if member else None
    return {SELF: {}, **children} if member else children


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """Every path of both."""
    merged = {step: node for step, node in one.items() if step != SELF}
    for step, node in other.items():
        if step == SELF:
            continue
        mine = merged.get(step)
        if mine is None or mine is node:
            merged[step] = node
        else:
            member = is_member(mine) or is_member(node)
            merged[step] = node_of(union(mine, node), member=member) or {}
    return merged


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths of `one` that are not in `other`; what is below a path of `other` stays."""
    left: FieldSet = {}
    for step, node in one.items():
        if step == SELF:
            continue
        gone = other.get(step)
        kept = node
        if gone is not None:
            kept = node_of(difference(node, gone), member=is_member(node) and not is_member(gone))
        if kept is not None:
            left[step] = kept
    return left


def without(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths of `one` that are neither in `other` nor below a path of it."""
    left: FieldSet = {}
    for step, node in one.items():
        gone = other.get(step)
        if step == SELF or (gone is not None and is_member(gone)):
            continue
        kept = node if gone is None else node_of(without(node, gone), member=is_member(node))
        if kept is not None:
            left[step] = kept
    return left


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths that both have."""
    common: FieldSet = {}
    for step, node in one.items():
        theirs = other.get(step)
        if step == SELF or theirs is None:
            continue
        kept = node_of(intersection(node, theirs), member=is_member(node) and is_member(theirs))
        if kept is not None:
            common[step] = kept
    return common


def paths(fields: FieldSet) -> Iterator[Path]:
    """In Kubernetes' order: at each level the paths that end there, then those that go on."""
    steps = sorted((step for step in fields if step != SELF), key=_place)
    for step in steps:
        if is_member(fields[step]):
            yield (step,)
    for step in steps:
        for below in paths(fields[step]):
            yield (step, *below)


def of_paths(listed: Iterable[Path]) -> FieldSet:
    """The set that has exactly these; the empty path says nothing."""
    fields: FieldSet = {}
    for path in listed:
        only: FieldSet = {}
        for step in reversed(path):
            only = {step: only}
        fields = union(fields, only)
    return fields


def _place(step: str) -> tuple[int, str]:
    return _ORDER.find(step[0]), step


def shown(path: Path) -> str:
    """As messages name it: `.spec.disks[name="d1"].size`."""
    return "".join(map(_shown, path))


def _shown(step: str) -> str:
    kind, text = step[0], step[2:]
    if kind == "f":
        return f".{text}"
    if kind == "k":
        keys = orjson.loads(text)
        return "[" + ",".join(f"{key}={orjson.dumps(value).decode()}" for key, value in keys.items()) + "]"
    return f"[={text}]" if kind == "v" else f"[{text}]"


def field(name: str) -> str:
    return f"f:{name}"


def item_by_keys(keys: dict[str, Any]) -> str:
    return "k:" + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()


def item_by_value(value: Any) -> str:
    return "v:" + orjson.dumps(value).decode()


def parsed(value: Any) -> FieldSet:
    """A client's FieldsV1 in canonical form. Steps of a kind that nobody knows are dropped. Raises NotFields."""
    if not isinstance(value, dict):
        raise NotFields("fields are an object")
    fields: FieldSet = {}
    for step, below in value.items():
        if step == SELF:
            continue
        canonical, node = _canonical(step), parsed(below)
        if canonical:
            member = is_member(node) or (isinstance(below, dict) and SELF in below)
            fields[canonical] = node_of(node, member=member) or {}
    return fields


def _canonical(step: str) -> str:
    """The step as it is compared; empty for one of an unknown kind."""
    kind, colon, text = step[:1], step[1:2], step[2:]
    if not kind or colon != ":":
        raise NotFields(f"missing colon: {step}")
    if kind == "f":
        return step
    if kind not in _ORDER:
        return ""
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotFields(f"{step}: {error}") from None
    if kind == "k":
        if not isinstance(said, dict) or not said:
            raise NotFields(f"{step}: keys are an object")
        return item_by_keys(said)
    if kind == "i" and type(said) is not int:
        raise NotFields(f"{step}: an index is a number")
    return f"{kind}:{orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()}"
