"""Documents in which every field of a schema has a value, each another one: what a client loses shows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from app.machinery.objects import Document

OPENAPI = Path(__file__).parents[2] / "openapi"

_FITTING = ("64Mi", "node-7", "0x0a", "52:54:00:12:34:56")
"""Something for every pattern that our schemas have."""


def schemas_of(name: str) -> Mapping[str, Document]:
    """The schemas of a published document, by name."""
    document = json.loads((OPENAPI / name).read_bytes())
    found: dict[str, Document] = document.get("definitions") or document["components"]["schemas"]
    return found


class Filler:
    """Fills the schemas of one document."""

    def __init__(self, schemas: Mapping[str, Document]) -> None:
        self._schemas = schemas
        self._numbers = count(1)

    def of(self, name: str) -> Document:
        """An object with every field of the schema of that name, and of those below it."""
        filled = self._value(self._schemas[name], name.rsplit(".", 1)[-1])
        assert isinstance(filled, dict)
        return filled

    def _value(self, schema: Document, hint: str) -> Any:
        if "$ref" in schema or "allOf" in schema:
            reference = schema.get("$ref") or schema["allOf"][0]["$ref"]
            return self._value(self._schemas[reference.rsplit("/", 1)[-1]], hint)
        if "enum" in schema:
            return schema["enum"][-1]
        match schema.get("type"):
            case "object":
                return self._object(schema, hint)
            case "array":
                return [self._value(schema["items"], hint), self._value(schema["items"], hint)]
            case "string":
                return self._text(schema, hint)
            case "integer" | "number":
                return max(next(self._numbers) % (schema.get("maximum") or 1 << 40), schema.get("minimum") or 0)
            case "boolean":
                return True
            case _:
                return {"anything": [hint, None, 1.5]}

    def _object(self, schema: Document, hint: str) -> Document:
        if schema.get("properties"):
            return {name: self._value(below, name) for name, below in schema["properties"].items()}
        if isinstance(schema.get("additionalProperties"), dict):
            return {f"{hint}.io/{key}": self._value(schema["additionalProperties"], key) for key in ("a", "b")}
        return {"f:anything": {"k": [1]}} if schema.get("x-kubernetes-preserve-unknown-fields") else {}

    def _text(self, schema: Document, hint: str) -> str:
        number = next(self._numbers)
        if schema.get("format") == "date-time":
            # In whole seconds: core kinds keep no more, as in Kubernetes.
            return f"2026-11-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:{number * 7 % 60:02}Z"
        if "pattern" in schema:
            return next(text for text in _FITTING if re.search(schema["pattern"], text))
        return f"{hint}-{number}"


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def same(value: Any) -> Any:
    """A document in which moments are moments: however they are written, the same ones are equal."""
    if isinstance(value, dict):
        return {key: same(item) for key, item in value.items()}
    if isinstance(value, list):
        return [same(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone()
    if isinstance(value, str) and _TIME.fullmatch(value):
        return datetime.fromisoformat(value).astimezone()
    return value
