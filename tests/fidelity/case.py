"""A case: a few requests, one after the other, in a namespace of their own.

In paths, headers and bodies `$ns` is that namespace, `$id` a name that no other case uses, and `$(2.metadata.uid)` a value out of
the third answer. `$(2)` is that whole answer.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

_VALUE = re.compile(r"\$\((\d+)((?:\.[\w-]+)*)\)")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. A body that is no text is sent as JSON."""

    line: str
    """Method and path with query."""
    body: Any = None
    type: str | None = "application/json"
    """None: the request does not say."""
    accept: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """Some requests that belong together. Setting up is part of it: its answers are compared, too."""

    name: str
    asks: Sequence[Ask]

    @property
    def namespaced(self) -> bool:
        """Whether it needs its namespace to be there."""
        return any("$ns" in ask.line for ask in self.asks)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request with its variables filled in."""

    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]

    @property
    def document(self) -> Any:
        """What the body says; None where it is no JSON."""
        try:
            return json.loads(self.body or b"")
        except (ValueError, RecursionError):
            return None


def filled(ask: Ask, names: Mapping[str, str], documents: Sequence[Any]) -> Sent:
    """The request as it is sent. What an earlier answer does not have is the word `missing`."""

    def fill(text: str) -> str:
        for name, value in names.items():
            text = text.replace(name, value)
        return _VALUE.sub(lambda found: _value(documents[int(found[1])], found[2]), text)

    method, _, path = fill(ask.line).partition(" ")
    path = quote(path, safe=string.punctuation)
    body = _encoded(ask.body, fill)
    headers = {name: fill(value) for name, value in ask.headers.items()}
    if body is not None and ask.type is not None:
        headers.setdefault("Content-Type", ask.type)
    if ask.accept is not None:
        headers.setdefault("Accept", ask.accept)
    headers.setdefault("User-Agent", "fidelity/1")
    return Sent(method, path, body, headers)


def _encoded(body: Any, fill: Any) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return str(fill(body)).encode("utf-8", "surrogateescape")
    whole = isinstance(body, dict) and body.keys() == {"$whole"}
    return str(fill(body["$whole"] if whole else json.dumps(body))).encode()


def _value(document: Any, path: str) -> str:
    for step in path.split(".")[1:]:
        try:
            document = document[int(step)] if isinstance(document, list) else document[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return "missing"
    return document if isinstance(document, str) else json.dumps(document)
