"""Documents as they arrive: JSON or YAML text in, a document and its duplicate fields out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isinf
from typing import Any

import orjson
import yaml

from app.machinery.errors import ApiError, bad_request
from app.machinery.go_json import cannot_unmarshal, quoted, syntax_error
from app.machinery.objects import Document
from app.machinery.yaml_loader import Loader, Unwritable, is_resolved, key_of

DEEPEST = 128
"""How deep a document may be nested: far beyond any kind's schema, and safe for every recursive walk."""
MOST_NODES = 20_000
"""How many nodes a YAML document may have once its aliases are spelled out: a few tenths of a second of parsing."""

_KEY_END = re.compile(rb'"\s*:')
_Parsed = tuple[Document, list[str]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a body is decoded into, for the message when it is something else."""

    go_type: str
    prefix: str = ""
    yaml_prefix: str = ""


OBJECT = Wanted(
    r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }',
    "couldn't get version/kind; json parse error: ",
)
"""An object of any kind: what it is, is read first."""
CONFIG = Wanted(
    "map[string]interface {}",
    "error unmarshaling JSON: while decoding JSON: ",
    yaml_prefix="error converting YAML to JSON: ",
)
"""What is applied."""


def parse_json(body: bytes, wanted: Wanted = OBJECT) -> _Parsed:
    """The document and the paths of fields that it has twice (the last wins). Raises ApiError 400."""
    try:
        value = load_json(body)
    except Beyond:
        raise
    except ApiError as error:
        raise bad_request(f"{wanted.prefix}{error.message}") from None
    document = _object(value, wanted)
    if _says_each_once(body, value):
        return document, []
    return document, _duplicates(
        json.loads(body.decode(errors="replace"), object_pairs_hook=_Doubled, parse_int=str), ""
    )


def _object(value: Any, wanted: Wanted) -> Document:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"{wanted.prefix}{cannot_unmarshal(value, wanted.go_type)}")
    return value


def parse_json_value(body: bytes) -> tuple[Any, list[str]]:
    """As parse_json, for a patch, which may be any JSON value."""
    value = load_json(body)
    if _says_each_once(body, value):
        return value, []
    return value, _duplicates(json.loads(body.decode(errors="replace"), object_pairs_hook=_Doubled), "")


class Beyond(ApiError):
    """400: a number that is too large for any type that Go has for one."""

    def __init__(self, number: str) -> None:
        super().__init__(400, "BadRequest", f"json: cannot unmarshal number {number} into Go value of type float64")


def load_json(body: bytes) -> Any:
    """Any JSON value, for patches. Raises ApiError 400 with Go's words for what is wrong."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        value = _mended(body, error)
    if body.count(b"{") + body.count(b"[") > DEEPEST and is_too_deep(value):
        raise bad_request(f"the document is nested deeper than {DEEPEST} levels")
    return value


def parse_yaml(body: bytes, wanted: Wanted = OBJECT) -> _Parsed:
    """The first YAML document, and what a strict reader says of keys that it has twice. JSON is YAML too. Raises ApiError
    400."""
    loader = Loader(body)
    try:
        _ensure_shallow(body)
        node = loader.get_node() if loader.check_node() else None
        if node is None:
            return {}, []
        _ensure_bounded(node)
        value = loader.construct_document(node)
        encoded = orjson.dumps(value)
    except yaml.YAMLError as error:
        raise _undecodable_yaml(error, wanted) from None
    except Unwritable as error:
        raise bad_request(f"{wanted.yaml_prefix}{error}") from None
    except (ValueError, TypeError) as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from None
    finally:
        loader.dispose()
    # Aliases make one value of several places: encoding and decoding takes them apart.
    return _object(orjson.loads(encoded), wanted), list(_repeated(node))


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


def _says_each_once(body: bytes, value: Any) -> bool:
    """Whether the text has no more keys than its value: each ends in a colon. Where nothing is escaped, what is in the value
    stands in the text as it is, so that a key which came twice is one colon more; most texts have no other colons."""
    if b"\\" not in body and body.count(b":") == orjson.dumps(value).count(b":"):
        return True
    keys = _count_keys(value)
    return body.count(b":") == keys or len(_KEY_END.findall(body)) == keys


def _count_keys(value: Any) -> int:
    count, containers = 0, [value] if isinstance(value, dict | list) else []
    for container in containers:  # which grows meanwhile
        items: Iterable[Any] = container
        if type(container) is dict:
            count += len(container)
            items = container.values()
        for item in items:
            if type(item) is dict or type(item) is list:
                containers.append(item)
    return count


def is_too_deep(value: Any) -> bool:
    """Level by level, so that the test itself needs no depth."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [item for container in level for item in _items(container) if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _mended(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """The value of a text that has half characters in it: Go reads each as U+FFFD. Raises ApiError 400 for any other, Beyond
    where it is a number that is too large."""
    if why := syntax_error(body):
        raise bad_request(why)
    try:
        return _whole(json.loads(body.decode(errors="replace"), parse_float=_finite, parse_int=_integer))
    except (ValueError, RecursionError):
        raise bad_request(str(error)) from None


_HALVES = re.compile("[\ud800-\udfff]")


def _whole(value: Any) -> Any:
    """The value with its half characters replaced."""
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(item) for name, item in value.items()}
    return value


def _finite(text: str) -> float:
    """Raises Beyond."""
    number = float(text)
    if isinf(number):
        raise Beyond(text)
    return number


def _integer(text: str) -> int | float:
    """As orjson: one of more digits than 64 bits have is a number like any other. Raises Beyond."""
    return int(text) if len(text) < 20 else _finite(text)


def _items(container: Document | list[Any]) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _child(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# YAML


def _ensure_shallow(body: bytes) -> None:
    """Refuse deep nesting before anything recurses: libyaml's composer would overflow the C stack. Raises ApiError."""
    depth = 0
    for count, event in enumerate(yaml.parse(body, Loader=Loader)):
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


def yaml_duplicates(body: bytes) -> list[str]:
    """What a strict reader says of keys that are there twice in a body that parse_yaml takes: in order of their values."""
    loader = Loader(body)
    try:
        node = loader.get_node() if loader.check_node() else None
        return [] if node is None else list(_repeated(node))
    finally:
        loader.dispose()


def _repeated(node: yaml.Node) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            yield from _repeated(value)
            name = key_of(key)
            if name in seen:
                shown = name if is_resolved(key) else quoted(name)
                yield f"line {value.start_mark.line + 1}: key {shown} already set in map"
            seen.add(name)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)


def _undecodable_yaml(error: yaml.YAMLError, wanted: Wanted) -> ApiError:
    line = _go_line(error)
    where = f"line {line}: " if line else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return bad_request(f"{wanted.yaml_prefix}yaml: {where}{problem}")


def _go_line(error: yaml.YAMLError) -> int:
    """The line that Go's parser names: it counts from 0, but for what the scanner finds, and names no line 0."""
    problem, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if problem is not None and problem.line:
        return int(problem.line) + isinstance(error, yaml.scanner.ScannerError)
    return int(context.line) if context is not None else 0
