"""What kube-apiserver's converter says of a value that its Go type cannot hold: where a strategic merge patch leads there."""

from __future__ import annotations

from typing import Any

from app.machinery.go_json import cannot_unmarshal

TIME = "v1.Time"
"""A moment: JSON's decoder calls it a string, the converter leaves it to that decoder."""


def cannot_restore(value: Any, go_type: str) -> str:
    """Why the value is not of the type."""
    held = _kind_of(value)
    if go_type == TIME:
        return cannot_unmarshal(value, "string")
    if go_type.startswith("[]"):
        return f"cannot restore slice from {held}"
    if go_type.startswith("map[") or go_type == "v1.ResourceList":
        return f"cannot restore map from {held}"
    if go_type.startswith("v1."):
        return f"cannot restore struct from: {held}"
    if (held == "int64" and go_type != "bool") or (held == "float64" and go_type.startswith("int")):
        return f"cannot convert {held} to {go_type}"
    return f"unrecognized type: {_BASES.get(go_type, go_type)}"


_BASES = {"types.UID": "string"}
"""What a type of another name is made of."""


def _kind_of(value: Any) -> str:
    """Go's word for what JSON was read into."""
    return {bool: "bool", int: "int64", float: "float64", str: "string", list: "slice", dict: "map"}[type(value)]
