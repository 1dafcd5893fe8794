"""JSON values as Go prints them, for messages that repeat kube-apiserver's word by word."""

from __future__ import annotations

from typing import Any

import orjson

_TYPES = {str: "string", bool: "bool", int: "int64", float: "float64", dict: "map[string]interface {}"}


def type_word(value: Any) -> str:
    """As %T."""
    return _TYPES.get(type(value), "[]interface {}")


def plain(value: Any) -> str:
    """As %v."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{plain(item)}' for name, item in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(plain, value))}]"
    if value is None:
        return "<nil>"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def literal(value: Any) -> str:
    """As %#v."""
    if isinstance(value, dict):
        items = ", ".join(f"{literal(name)}:{literal(item)}" for name, item in sorted(value.items()))
        return f"{type_word(value)}{{{items}}}"
    if isinstance(value, list):
        return f"{type_word(value)}{{{', '.join(map(literal, value))}}}"
    return "interface {}(nil)" if value is None else orjson.dumps(value).decode()
