"""What differs on purpose, each with its reason. A rewrite is made of both sides' answers, so that the rest is still compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.kinds import ALL
from app.machinery.objects import Document
from tests.fidelity.definitions import computed_columns
from tests.fidelity.normal import Normal

Rewrite = Callable[[Normal], Normal]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A difference that is meant."""

    name: str
    reason: str
    rewrite: Rewrite


def in_body(change: Callable[[Document], Document]) -> Rewrite:
    """A rewrite of every object in the body, innermost first."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, dict):
            return change({name: walk(below) for name, below in value.items()})
        return value

    return lambda answer: replace(answer, body=walk(answer.body))


def _without(*names: str) -> Callable[[Document], Document]:
    return lambda document: {name: value for name, value in document.items() if name not in names}


_COMPUTED = frozenset(computed_columns())


def _plain_columns(document: Document) -> Document:
    """A Table without the columns that cannot be declared."""
    if document.get("kind") != "Table" or not document.get("columnDefinitions"):
        return document
    columns = document["columnDefinitions"]
    keep = [index for index, column in enumerate(columns) if column["name"] not in _COMPUTED]
    rows = [
        {**row, "cells": [row["cells"][index] for index in keep if index < len(row["cells"])]}
        for row in document["rows"]
    ]
    return {**document, "columnDefinitions": [columns[index] for index in keep], "rows": rows}


_OWN = frozenset(finalizer for kind in ALL for finalizer in kind.finalizers)


def _own_finalizers(document: Document) -> Document:
    """managedFields in which nobody owns the finalizers that Drover puts on by itself."""
    owned = document.get("f:finalizers")
    if not isinstance(owned, dict):
        return _without_empty(document)
    left = {name: value for name, value in owned.items() if name.removeprefix("v:").strip('"') not in _OWN}
    others = {name: value for name, value in document.items() if name != "f:finalizers"}
    return {**others, "f:finalizers": left} if left.keys() - {"."} else others


def _without_empty(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "f:metadata" or value != {}}


def _no_worker(answer: Normal) -> Normal:
    kept = tuple(header for header in answer.headers if "no worker has run" not in header[1])
    return replace(answer, headers=kept)


ACCEPTED: Sequence[Accepted] = (
    Accepted("selfLink", "Drover fills metadata.selfLink on every object and list", in_body(_without("selfLink"))),
    Accepted("no worker", "Drover without workers warns of it on writes", _no_worker),
    Accepted("finalizers", "nobody owns the finalizers that Drover puts on its kinds", in_body(_own_finalizers)),
    Accepted("columns", "a CustomResourceDefinition has no columns that are computed", in_body(_plain_columns)),
)
