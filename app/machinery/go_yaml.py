"""YAML as Go writes it for kube-apiserver: keys in a natural order, texts that would be read as something else in quotes."""

from __future__ import annotations

import re
from functools import cmp_to_key
from typing import Any

import yaml

_OLD_BOOLEANS = frozenset(
    form
    for word in ("y", "n", "yes", "no", "on", "off", "true", "false")
    for form in (word, word.capitalize(), word.upper())
)
"""What YAML 1.1 takes for a boolean."""


class _Dumper(yaml.CSafeDumper):
    """Nothing is said by an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


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
    resolved = yaml.CSafeDumper.yaml_implicit_resolvers.get(text[:1], ())
    means_more = text in _OLD_BOOLEANS or any(pattern.match(text) for _, pattern in resolved)
    return '"' if means_more or not text else None


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
