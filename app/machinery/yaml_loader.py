"""YAML's scalars as kube-apiserver's reader takes them: YAML 1.1's words for true and false, Go's numbers, dates as texts."""

from __future__ import annotations

import base64
import binascii
import re
from math import isinf, isnan
from typing import Any

import yaml

from app.machinery.go_json import quoted
from app.machinery.objects import Document

_STANDARD = "tag:yaml.org,2002:"
_INFINITE = {f"{sign}{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")}
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **{
        form: meaning
        for meaning, words in ((True, ("y", "yes", "on", "true")), (False, ("n", "no", "off", "false")))
        for word in words
        for form in (word, word.capitalize(), word.upper())
    },
    **_INFINITE,
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
TIME = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9]{1,2}(:[0-9]{1,2}){2}(\.[0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2})?)?"
)
_LONGEST = 400
"""Digits of a number: what is longer is a text, as is what Go's numbers do not reach."""
_INT64, _UINT64 = 2**63, 2**64


class Unwritable(ValueError):
    """A number that JSON has no way to write. In Go's words."""


def resolved(text: str) -> bool | int | float | str | None:
    """What a scalar without quotes and without a tag is."""
    if text in _WORDS:
        return _WORDS[text]
    if not text[0].isascii() or text[0] not in "+-.0123456789" or len(text) > _LONGEST:
        return text
    if text[0] == ".":
        return _float(text, text)
    plain = text.replace("_", "")
    if _INTEGER.fullmatch(plain):
        number = _integer(plain)
        if -_INT64 <= number < _UINT64:
            return number
    return _float(plain, text)


def _integer(plain: str) -> int:
    digits = plain.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    number = int(digits, 8 if octal else 0)
    return -number if plain[0] == "-" else number


def _float(plain: str, text: str) -> int | float | str:
    """A whole one is written as an integer in JSON."""
    if not _FLOAT.fullmatch(plain):
        return text
    number = float(plain)
    if isinf(number):
        return text
    return int(number) if number.is_integer() and abs(number) < _INT64 else number


class Loader(yaml.CSafeLoader):
    """The safe loader with those scalars. What has a tag that nobody knows is read as if it had none."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """The tag of a node that has none of its own."""
        if kind is not yaml.ScalarNode or not implicit[0]:
            return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]  # not declared
        return _STANDARD + ("merge" if value == "<<" else _SORTS[type(resolved(value))])


_SORTS = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str"}


def _scalar(loader: Loader, node: yaml.ScalarNode) -> Any:
    value = resolved(node.value)
    sort, wanted = _SORTS[type(value)], node.tag.removeprefix(_STANDARD)
    if (sort, wanted) == ("int", "float"):
        sort = "float"
    if sort != wanted:
        problem = f"cannot decode !!{sort} `{node.value}` as a !!{wanted}"
        raise yaml.constructor.ConstructorError(None, None, problem)
    if isinstance(value, float) and (isinf(value) or isnan(value)):
        raise Unwritable(f"json: unsupported value: {'NaN' if isnan(value) else '+Inf' if value > 0 else '-Inf'}")
    return value


def _text(loader: Loader, node: yaml.ScalarNode) -> str:
    return str(node.value)


def _time(loader: Loader, node: yaml.ScalarNode) -> str:
    if TIME.fullmatch(node.value) is None:
        problem = f"cannot decode !!{_SORTS[type(resolved(node.value))]} `{node.value}` as a !!timestamp"
        raise yaml.constructor.ConstructorError(None, None, problem)
    return str(node.value)


def _binary(loader: Loader, node: yaml.ScalarNode) -> str:
    try:
        return base64.b64decode("".join(node.value.split()), validate=True).decode(errors="replace")
    except binascii.Error as error:
        problem = "!!binary value contains invalid base64 data"
        raise yaml.constructor.ConstructorError(None, None, problem) from error


def key_of(node: yaml.ScalarNode) -> str:
    """JSON's keys are texts: `1: x` is `"1": "x"`, and `yes: x` is `"true": "x"`."""
    if not is_resolved(node):
        return str(node.value)
    value = resolved(node.value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_resolved(node: yaml.ScalarNode) -> bool:
    """Is it something else than a text?"""
    return node.tag.removeprefix(_STANDARD) in ("null", "bool", "int", "float")


def _map(loader: Loader, node: yaml.MappingNode) -> Document:
    loader.flatten_mapping(node)
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a scalar", key.start_mark)
        if is_resolved(key) and resolved(key.value) is None:
            held = loader.construct_object(value, deep=True)
            shown = quoted(held) if isinstance(held, str) else str(held)
            raise Unwritable(f"unsupported map key of type: %!s(<nil>), key: <nil>, value: {shown}")
    return {key_of(key): loader.construct_object(value, deep=True) for key, value in node.value}


def _untagged(loader: Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _map(loader, node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return str(node.value)


for _tag in ("null", "bool", "int", "float"):
    Loader.add_constructor(_STANDARD + _tag, _scalar)
Loader.add_constructor(f"{_STANDARD}merge", _text)
Loader.add_constructor(f"{_STANDARD}timestamp", _time)
Loader.add_constructor(f"{_STANDARD}binary", _binary)
Loader.add_constructor(f"{_STANDARD}map", _map)
Loader.add_constructor(f"{_STANDARD}set", _map)
Loader.add_constructor(None, _untagged)
