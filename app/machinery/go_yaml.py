"""YAML as Go writes it for kube-apiserver: keys in a natural order, texts that would be read as something else in quotes."""

from __future__ import annotations

import re
from functools import cmp_to_key
from typing import Any

import yaml

from app.machinery.yaml_loader import TIME, resolved

_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
"""Numbers of YAML 1.1, to which Go's reader is blind; it puts them in quotes for others."""
_PLAIN = ("=", "<<")
"""What YAML 1.1 has a meaning for and Go's reader has not."""


class _Dumper(yaml.CSafeDumper):
    """Nothing is said by an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """What would be read without quotes."""
        if value in _PLAIN:
            return "tag:yaml.org,2002:str"
        return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]  # not declared


def written(document: Any) -> bytes:
    """The document in YAML."""
    text: str = yaml.dump(_ordered(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text.encode()


def _represented(dumper: _Dumper, text: str) -> yaml.Node:
    node: yaml.Node = dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text))
    return node


_Dumper.add_representer(str, _represented)


def _style(text: str) -> str | None:
    """None: as plain as the text allows."""
    if "\n" in text:
        return "|"
    means_more = not isinstance(resolved(text), str) or TIME.fullmatch(text) or _SEXAGESIMAL.fullmatch(text)
    return '"' if means_more else None


def _ordered(value: Any) -> Any:
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value, key=_NATURAL)}
    return value


def _compared(one: str, other: str) -> int:
    """Where they begin to differ: letters after everything else, numbers by their value."""
    at = next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if at is None:
        return len(one) - len(other)
    a, b = one[at], other[at]
    if a.isalpha() or b.isalpha():
        if a.isalpha() and b.isalpha():
            return ord(a) - ord(b)
        in_number = at > 0 and one[at - 1].isdigit()
        return -1 if a.isalpha() == in_number else 1
    left, right = (_DIGITS.match(text, at) for text in (one, other))
    numbers = [int(found[0] or 0) if found else 0 for found in (left, right)]
    return numbers[0] - numbers[1] or ord(a) - ord(b)


_DIGITS = re.compile(r"[0-9]{0,18}")
_NATURAL = cmp_to_key(_compared)
