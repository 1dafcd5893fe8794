"""Patches: a document and a patch in, another document out. The given document is never changed."""

from __future__ import annotations

import copy
from typing import Any

import orjson

from app.machinery.documents import is_too_deep
from app.machinery.errors import ApiError, bad_request
from app.machinery.go_json import cannot_unmarshal
from app.machinery.objects import Document
from app.machinery.printed import plain
from app.machinery.schema import Schema

MOST_OPERATIONS = 10_000
MOST_COPIED = 3 * 1024 * 1024
"""Bytes that the copies of one patch may add: a few operations could double an object for ever. kube-apiserver's bound."""


def rejected() -> ApiError:
    """422 as kube-apiserver says it: without saying what was wrong."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def undecodable_patch(why: str) -> ApiError:
    return bad_request(f"error decoding patch: {why}")


# RFC 6902


def json_patch(document: Document, operations: Any) -> Document:
    """Raises ApiError: 400 for what is no list of operations, 413 for too many, 422 when one does not apply."""
    operations = [] if operations is None else operations
    if not isinstance(operations, list):
        raise _wrong_type(operations, "[]handlers.jsonPatchOp")
    if len(operations) > MOST_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{MOST_OPERATIONS}, got {len(operations)}",
        )
    patched: Any = copy.deepcopy(document)
    copied = 0
    for operation in operations:
        if operation is None:
            raise rejected()
        if not isinstance(operation, dict):
            raise _wrong_type(operation, "handlers.jsonPatchOp")
        _ensure_texts(operation)
        if operation.get("op") == "copy":
            copied += _size(_found(patched, _steps(operation.get("from")), missing=None))
            if copied > MOST_COPIED:
                raise rejected()
        patched = _applied(patched, operation)
    if not isinstance(patched, dict) or is_too_deep(patched):
        raise rejected()
    return patched


def _size(value: Any) -> int:
    """In bytes; what orjson cannot encode any more is too deep to go on with."""
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        raise rejected() from None


def _applied(root: Any, operation: Document) -> Any:
    path = _steps(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _put(root, path, copy.deepcopy(operation.get("value")), insert=True)
        case "replace":
            return _put(root, path, copy.deepcopy(operation.get("value")), insert=False)
        case "remove":
            return _without(root, path)
        case "test":
            if not same(_found(root, path, missing=None), operation.get("value")):
                raise rejected()
            return root
        case "copy":
            copied = _found(root, _steps(operation.get("from")), missing=None)
            return _put(root, path, copy.deepcopy(copied), insert=True)
        case "move":
            source = _steps(operation.get("from"))
            if path[: len(source)] == source and len(path) > len(source):
                raise rejected()
            moved = _found(root, source)
            return _put(_without(root, source), path, moved, insert=True)
        case _:
            raise rejected()


_TEXTS = ("op", "path", "from")
_KNOWN = frozenset((*_TEXTS, "value"))


def unknown_in_operations(operations: Any) -> list[str]:
    """Fields that no operation has: of each operation the first ones, in the order of their names."""
    return [
        f'json patch unknown field "[{index}].{name}"'
        for index, operation in enumerate(operations if isinstance(operations, list) else ())
        if isinstance(operation, dict)
        for name in sorted(operation.keys() - _KNOWN)
    ]


def _ensure_texts(operation: Document) -> None:
    """Raises ApiError 400."""
    for name in _TEXTS:
        value = operation.get(name)
        if value is not None and not isinstance(value, str):
            raise undecodable_patch(cannot_unmarshal(value, "string", f"jsonPatchOp.{name}"))


def _steps(pointer: Any) -> list[str]:
    """A JSON pointer's reference tokens."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise rejected()
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


_REQUIRED = object()


def _found(root: Any, path: list[str], missing: Any = _REQUIRED) -> Any:
    """What the path leads to; `missing` stands in for an absent member of an object that is there."""
    value = root
    for depth, step in enumerate(path):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list):
            value = value[_index(step, len(value) - 1)]
        elif isinstance(value, dict) and missing is not _REQUIRED and depth == len(path) - 1:
            return missing
        else:
            raise rejected()
    return value


def _put(root: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    """Set a member or an item. Replacing an absent member of an object adds it, as kube-apiserver's library does."""
    if not path:  # kube-apiserver's library knows no place for the whole document
        raise rejected()
    parent, last = _found(root, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list) and insert:
        parent.insert(len(parent) if last == "-" else _index(last, len(parent)), value)
    elif isinstance(parent, list):
        parent[_index(last, len(parent) - 1)] = value
    else:
        raise rejected()
    return root


def _without(root: Any, path: list[str]) -> Any:
    if not path:
        raise rejected()
    parent, last = _found(root, path[:-1]), path[-1]
    if isinstance(parent, dict) and last in parent:
        del parent[last]
    elif isinstance(parent, list):
        del parent[_index(last, len(parent) - 1)]
    else:
        raise rejected()
    return root


def _index(step: str, highest: int) -> int:
    """From the end, where it is negative."""
    digits = step.removeprefix("-")
    canonical = digits.isascii() and digits.isdigit() and (step == "0" or not digits.startswith("0"))
    if not canonical:
        raise rejected()
    index = int(step[:20]) + (highest + 1 if step.startswith("-") else 0)
    if not 0 <= index <= highest:
        raise rejected()
    return index


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: true is not 1, nor is 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def _wrong_type(value: Any, go_type: str) -> ApiError:
    return undecodable_patch(cannot_unmarshal(value, go_type))


# RFC 7386


def merge_patch(document: Document, patch: Any) -> Document:
    """Raises ApiError 400 when the patch is no object."""
    if patch is None:
        raise bad_request("Invalid JSON Patch")
    return _merged(document, _object(patch))


def _object(patch: Any) -> Document:
    if patch is None:
        return {}
    if not isinstance(patch, dict):
        raise _wrong_type(patch, "map[string]interface {}")
    return patch


def _merged(target: Any, patch: Document) -> Document:
    merged: Document = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _merged(merged.get(name), value)
        else:
            merged[name] = copy.deepcopy(value)
    return merged


# Strategic merge


def strategic_merge_patch(document: Document, patch: Any, schema: Schema) -> Document:
    """Merge with lists merged by key where the schema names one. Raises ApiError: 400 for what is no object or has
    directives of a wrong form, 422 for an unknown $patch."""
    if patch is not None and not isinstance(patch, dict):
        raise bad_request(cannot_unmarshal(patch, "map[string]interface {}"))
    return _strategic(document, patch or {}, schema.openapi)


_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def _strategic(target: Document, patch: Document, schema: Document) -> Document:
    match patch.get("$patch", "merge"):
        case "replace":
            return {name: copy.deepcopy(value) for name, value in patch.items() if name != "$patch"}
        case "delete":
            return {}
        case "merge":
            pass
        case _:
            raise rejected()
    merged = _retained(target, patch.get("$retainKeys"))
    for name, value in patch.items():
        if name.startswith(_DELETE):
            _delete_items(merged, name.removeprefix(_DELETE), value)
        elif name.startswith("$"):
            continue
        elif value is None:
            merged.pop(name, None)
        else:
            order = patch.get(_ORDER + name)
            merged[name] = _strategic_value(merged.get(name), value, _below(schema, name), order)
    for name in patch:
        field = name.removeprefix(_ORDER)
        if name.startswith(_ORDER) and field not in patch and isinstance(merged.get(field), list):
            merged[field] = _in_order(merged[field], patch[name], merged[field], _merge_key(_below(schema, field)))
    return merged


def _retained(target: Document, keys: Any) -> Document:
    """The object without what a union's other members left behind."""
    if keys is None:
        return dict(target)
    if not isinstance(keys, list):
        raise bad_request("invalid patch format of retainKeys")
    return {name: value for name, value in target.items() if name in keys}


def _delete_items(merged: Document, name: str, gone: Any) -> None:
    if not isinstance(gone, list):
        raise bad_request("invalid patch format of primitive list")
    if isinstance(merged.get(name), list):
        merged[name] = [item for item in merged[name] if item not in gone]


def _strategic_value(current: Any, value: Any, schema: Document, order: Any) -> Any:
    if isinstance(value, dict):
        return _strategic(current if isinstance(current, dict) else {}, value, schema)
    if not isinstance(value, list):
        return value
    key = _merge_key(schema)
    before = current if isinstance(current, list) else []
    if key:
        merged = _merged_by_key(before, value, key, schema.get("items", {}))
    elif "merge" in _strategies(schema):
        merged = [*before, *(copy.deepcopy(item) for item in value if item not in before)]
    else:
        return copy.deepcopy(value)
    return _in_order(merged, value if order is None else order, before, key)


def _merged_by_key(before: list[Any], patch: list[Any], key: str, schema: Document) -> list[Any]:
    """Items of the same key are merged, others appended; `$patch: replace` alone in an item replaces the list."""
    if any(isinstance(item, dict) and item.get("$patch") == "replace" and key not in item for item in patch):
        return [copy.deepcopy(item) for item in patch if "$patch" not in item]
    merged = list(before)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            # kube-apiserver has no better word for this one.
            raise ApiError(500, "", f"map: {plain(item)} does not contain declared merge key: {key}")
        at = next((index for index, old in enumerate(merged) if _identity(old, key) == item[key]), None)
        if item.get("$patch") == "delete":
            merged = [old for old in merged if _identity(old, key) != item[key]]
        elif at is None:
            merged.append(_strategic({}, item, schema))
        else:
            merged[at] = _strategic(merged[at], item, schema)
    return merged


def _in_order(items: list[Any], order: Any, before: list[Any], key: str) -> list[Any]:
    """The items that the patch names, in its order; each of the others before the first of them that it stood before."""
    if not isinstance(order, list):
        raise bad_request("invalid patch format of setElementOrder list")
    places = [_identity(entry, key) for entry in order]
    stood = [_identity(item, key) for item in before]
    named = [item for item in items if _identity(item, key) in places]
    others = [item for item in items if _identity(item, key) not in places]
    ordered: list[Any] = []
    for item in sorted(named, key=lambda item: places.index(_identity(item, key))):
        while others and _stands_before(stood, _identity(others[0], key), _identity(item, key)):
            ordered.append(others.pop(0))
        ordered.append(item)
    return ordered + others


def _stands_before(stood: list[Any], one: Any, other: Any) -> bool:
    return one in stood and other in stood and stood.index(one) < stood.index(other)


def _identity(item: Any, key: str) -> Any:
    return item.get(key) if key and isinstance(item, dict) else item


def _below(schema: Document, name: str) -> Document:
    found = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
    return found if isinstance(found, dict) else {}


def _strategies(schema: Document) -> list[str]:
    return str(schema.get("x-kubernetes-patch-strategy", "")).split(",")


def _merge_key(schema: Document) -> str:
    """By what its items are merged: the declared key, or the only key of a list of type map; empty for none."""
    declared = schema.get("x-kubernetes-patch-merge-key")
    if declared:
        return str(declared)
    keys = schema.get("x-kubernetes-list-map-keys", ())
    return str(keys[0]) if schema.get("x-kubernetes-list-type") == "map" and len(keys) == 1 else ""
