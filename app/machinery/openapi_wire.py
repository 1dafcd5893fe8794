"""Gnostic's protobufs of OpenAPI documents, as far as they are alike: what a field of each type is written as.

Each message is a table from the JSON name to the field's number and writer. As proto3 has it, an empty value is not written.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml

from app.machinery.protobuf_wire import blob, varint

Write = Callable[[int, Any], bytes]
"""A field's bytes, key and all, from its number and its JSON value."""
Fields = Mapping[str, tuple[int, Write]]

EXTENSIONS = "x-"
"""In a table: the field that holds every name that begins like this."""


def integer(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value) if value else b""


def truth(field: int, value: bool) -> bytes:
    return integer(field, int(value))


def double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value) if value else b""


def text(field: int, value: str) -> bytes:
    return blob(field, value.encode()) if value else b""


def texts(field: int, values: Iterable[str]) -> bytes:
    return b"".join(blob(field, value.encode()) for value in values)


# Messages


def body(value: Mapping[str, Any], fields: Fields) -> bytes:
    extensions = {name: item for name, item in value.items() if name.startswith(EXTENSIONS)}
    plain = [(*_field(name, fields), item) for name, item in value.items() if name not in extensions]
    written = [write(number, item) for number, write, item in sorted(plain, key=lambda field: field[0])]
    if extensions:
        number, write = _field(EXTENSIONS, fields)
        written.append(write(number, extensions))
    return b"".join(written)


def _field(name: str, fields: Fields) -> tuple[int, Write]:
    if name not in fields:
        raise ValueError(f"BUG: the OpenAPI document says {name!r}, where gnostic knows only {', '.join(fields)}")
    return fields[name]


def message(fields: Fields) -> Write:
    return lambda number, value: blob(number, body(value, fields))


def each(write: Write) -> Write:
    return lambda number, values: b"".join(write(number, value) for value in values)


def one_of(choice: int, write: Write) -> Write:
    """A message whose only field, the chosen one, is the value."""
    return lambda number, value: blob(number, write(choice, value))


def named(write: Write) -> Write:
    """A map as pairs: a repeated message of name and value."""
    return lambda number, values: b"".join(
        blob(number, text(1, name) + write(2, value)) for name, value in values.items()
    )


def within(number: int, write: Write) -> Write:
    """A message around one repeated field."""
    return lambda outer, values: blob(outer, write(number, values))


def any_value(number: int, value: Any) -> bytes:
    """Any JSON value, as YAML text."""
    return blob(number, text(2, yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True)))


def limits(first: int) -> Fields:
    """What a schema and a parameter that is not a body can say of a value; numbered in this order."""
    writers: tuple[tuple[str, Write], ...] = (
        ("maximum", double),
        ("exclusiveMaximum", truth),
        ("minimum", double),
        ("exclusiveMinimum", truth),
        ("maxLength", integer),
        ("minLength", integer),
        ("pattern", text),
        ("maxItems", integer),
        ("minItems", integer),
        ("uniqueItems", truth),
    )
    return {name: (number, write) for number, (name, write) in enumerate(writers, first)}
