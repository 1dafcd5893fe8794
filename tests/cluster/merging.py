"""How kube-aggregator makes one OpenAPI v2 document out of its own and another's: by paths, renaming what clashes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]

GVK = "x-kubernetes-group-version-kind"
_PREFIX = "#/definitions/"


def filtered(swagger: Document, prefix: str) -> Document:
    """The paths below a prefix, with the definitions that they use; those that nothing ever used stay."""
    paths = {path: item for path, item in swagger["paths"].items() if path.startswith(prefix)}
    before, after = _used(swagger, swagger["paths"]), _used(swagger, paths)
    left = {name: body for name, body in swagger["definitions"].items() if name in after or name not in before}
    return {**swagger, "paths": paths, "definitions": left}


def merged(into: Document, other: Document) -> Document:
    """Paths that are there already stay; definitions of one name and another content are renamed `<name>_v<n>`."""
    known = dict(into["definitions"])
    renames: dict[str, str] = {}
    for name, body in other["definitions"].items():
        if name not in known or _unmarked(known[name]) == _unmarked(body):
            continue
        number = 2
        while f"{name}_v{number}" in known or f"{name}_v{number}" in other["definitions"]:
            number += 1
        renames[name] = f"{name}_v{number}"
    added = _renamed(copy.deepcopy({"paths": other["paths"], "definitions": other["definitions"]}), renames)
    for name, body in added["definitions"].items():
        name = renames.get(name, name)
        if name not in known:
            known[name] = body
        elif body.get(GVK):
            marks = known[name].get(GVK, [])
            known[name] = {**known[name], GVK: [*marks, *(mark for mark in body[GVK] if mark not in marks)]}
    return {**into, "paths": {**added["paths"], **into["paths"]}, "definitions": known}


def references(value: Any) -> Iterator[str]:
    """The definitions that something refers to."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].removeprefix(_PREFIX)
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def _used(swagger: Document, paths: Document) -> set[str]:
    found: set[str] = set()
    waiting = list(references(paths))
    while waiting:
        name = waiting.pop()
        if name not in found and name in swagger["definitions"]:
            found.add(name)
            waiting.extend(references(swagger["definitions"][name]))
    return found


def _unmarked(schema: Document) -> Document:
    return {name: value for name, value in schema.items() if name != GVK}


def _renamed(value: Any, renames: dict[str, str]) -> Any:
    if isinstance(value, dict):
        changed = {name: _renamed(item, renames) for name, item in value.items()}
        target = changed.get("$ref")
        if isinstance(target, str) and target.removeprefix(_PREFIX) in renames:
            changed["$ref"] = _PREFIX + renames[target.removeprefix(_PREFIX)]
        return changed
    return [_renamed(item, renames) for item in value] if isinstance(value, list) else value
