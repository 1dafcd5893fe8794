"""Documents as they arrive: JSON or YAML text in, a document and its duplicate fields out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import orjson
import yaml

from app.machinery.errors import ApiError, bad_request
from app.machinery.objects import Document

DEEPEST = 128
"""How deep a document may be nested: far beyond any kind's schema, and safe for every recursive walk."""
MOST_NODES = 20_000
"""How many nodes a YAML document may have once its aliases are spelled out: a few tenths of a second of parsing."""

_KEY_END = re.compile(rb'"\s*:')
_Parsed = tuple[Document, list[str]]


def parse_json(body: bytes, *, duplicates: bool = True) -> _Parsed:
    """The document and the paths of fields that it has twice (the last wins). Raises ApiError 400."""
    value = load_json(body)
    if not isinstance(value, dict):
        raise bad_request(f"the body of the request is not an object: {_shown(body)}")
    if not duplicates or len(_KEY_END.findall(body)) == _count_keys(value):
        return value, []
    return value, _duplicates(json.loads(body, object_pairs_hook=_Doubled, parse_int=str), "")


def parse_json_value(body: bytes) -> tuple[Any, list[str]]:
    """As parse_json, for a patch, which may be any JSON value."""
    value = load_json(body)
    if len(_KEY_END.findall(body)) == _count_keys(value):
        return value, []
    return value, _duplicates(json.loads(body, object_pairs_hook=_Doubled), "")


def load_json(body: bytes) -> Any:
    """Any JSON value, for patches. Raises ApiError 400 with Go's words for what is wrong."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(go_json_error(body, error)) from None
    if body.count(b"{") + body.count(b"[") > DEEPEST and is_too_deep(value):
        raise bad_request(f"the document is nested deeper than {DEEPEST} levels")
    return value


def parse_yaml(body: bytes) -> _Parsed:
    """As parse_json, for one YAML document; JSON is YAML too. Raises ApiError 400."""
    loader = _Loader(body)
    try:
        _ensure_shallow(body)
        node = loader.get_single_node()
        if node is None:
            raise bad_request("the body of the request is empty")
        _ensure_bounded(node)
        value = loader.construct_document(node)
        encoded = orjson.dumps(value)
    except yaml.YAMLError as error:
        raise _undecodable_yaml(error) from None
    except (ValueError, TypeError) as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from None
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        raise bad_request("the body of the request is not an object")
    # Aliases make one value of several places: encoding and decoding takes them apart.
    return orjson.loads(encoded), _yaml_duplicates(node, "")


def _shown(body: bytes) -> str:
    return body[:60].decode(errors="replace")


# JSON


class _Doubled(dict[str, Any]):
    """An object that remembers which of its fields came twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs)
        self.twice = [name for name, count in counts.items() if count > 1]


def _duplicates(value: Any, path: str) -> list[str]:
    if isinstance(value, _Doubled):
        found = [_child(path, name) for name in value.twice]
        for name, item in value.items():
            found.extend(_duplicates(item, _child(path, name)))
        return found
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in _duplicates(item, f"{path}[{index}]")]
    return []


def _count_keys(value: Any) -> int:
    count, left = 0, [value]
    while left:
        container = left.pop()
        if isinstance(container, dict):
            count += len(container)
        elif not isinstance(container, list):
            continue
        left += [item for item in _items(container) if isinstance(item, dict | list)]
    return count


def is_too_deep(value: Any) -> bool:
    """Level by level, so that the test itself needs no depth."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [item for container in level for item in _items(container) if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _items(container: Document | list[Any]) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _child(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_GO_WORDS = {
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting value": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Extra data": "after top-level value",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Invalid \\escape": "in string escape code",
    "Invalid control character at": "in string literal",
}


def go_json_error(body: bytes, error: orjson.JSONDecodeError) -> str:
    """What Go's decoder would say, since that is what clients and people know."""
    text = body.decode(errors="replace")
    try:
        # Digits without end are text: Python would refuse to convert them.
        json.loads(text, parse_int=str)
    except json.JSONDecodeError as plain:
        if plain.pos >= len(text.rstrip()) or plain.msg.startswith("Unterminated string"):
            return "unexpected end of JSON input"
        words = next((go for said, go in _GO_WORDS.items() if plain.msg.startswith(said)), plain.msg)
        return f"invalid character {text[plain.pos]!r} {words}"
    except RecursionError:
        return "exceeded max depth"
    return str(error)


# YAML


class _Loader(yaml.CSafeLoader):
    """The safe loader with YAML 1.2's plain scalars: timestamps, yes and no are strings."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML reads it here


for _tag, _plain, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_plain})$"), _first)


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


def _construct_string_key_map(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Document:
    """JSON's keys are strings: `1: x` is `"1": "x"`."""
    loader.flatten_mapping(node)
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a scalar", key.start_mark)
    return {str(key.value): loader.construct_object(value, deep=True) for key, value in node.value}


_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_string_key_map)


def _ensure_shallow(body: bytes) -> None:
    """Refuse deep nesting before anything recurses: libyaml's composer would overflow the C stack. Raises ApiError."""
    depth = 0
    for count, event in enumerate(yaml.parse(body, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise bad_request(f"the document is nested deeper than {DEEPEST} levels")
        if count > 4 * MOST_NODES:
            raise _too_large()


def _ensure_bounded(root: yaml.Node) -> None:
    """Refuse what grows beyond bounds when aliases are spelled out, or contains itself. Raises ApiError 400."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if depth > DEEPEST:
            raise bad_request(f"the document is nested deeper than {DEEPEST} levels")
        if id(node) not in sizes:
            sizes[id(node)] = 1 + sum(size(below, depth + 1) for below in _nodes_below(node))
        if sizes[id(node)] > MOST_NODES:
            raise _too_large()
        return sizes[id(node)]

    size(root, 0)


def _too_large() -> ApiError:
    return bad_request(f"the document has more than {MOST_NODES} nodes: send it as JSON, or with fewer aliases")


def _nodes_below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _yaml_duplicates(node: yaml.Node, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            where = _child(path, str(key.value))
            if where in seen and where not in found:
                found.append(where)
            seen.add(where)
            found.extend(_yaml_duplicates(value, where))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            found.extend(_yaml_duplicates(item, f"{path}[{index}]"))
    return found


def _undecodable_yaml(error: yaml.YAMLError) -> ApiError:
    line = _go_line(error)
    where = f"line {line}: " if line else ""
    problem = getattr(error, "problem", None) or str(error)
    return bad_request(f"error converting YAML to JSON: yaml: {where}{problem}")


def _go_line(error: yaml.YAMLError) -> int:
    """The line that Go's parser names: it counts from 0, but for what the scanner finds, and names no line 0."""
    problem, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if problem is not None and problem.line:
        return int(problem.line) + isinstance(error, yaml.scanner.ScannerError)
    return int(context.line) if context is not None else 0
