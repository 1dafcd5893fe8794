"""What is written of a core object even where it says nothing: Go leaves out less than a custom resource does."""

from __future__ import annotations

from typing import Any

from app.machinery.objects import Document


def filled(zero: Document, document: Document) -> Document:
    """The document with what it has in any case. A copy, as far as anything is filled in.

    What stands in brackets is filled in only where something is: `[{"at": None}]` is of each item of a list, and of an
    object that need not be there."""
    written = dict(document)
    for name, value in zero.items():
        if not isinstance(value, list):
            written[name] = _within(value, written.get(name, value if not isinstance(value, dict) else {}))
        elif written.get(name):
            held = written[name]
            written[name] = (
                [_within(value[0], item) for item in held] if isinstance(held, list) else _within(value[0], held)
            )
    return written


def _within(zero: Any, held: Any) -> Any:
    return filled(zero, held) if isinstance(zero, dict) and isinstance(held, dict) else held


def emptied(zero: Document, document: Document) -> Document:
    """The document as it is read back: a list that is written in any case, and has nothing in it, is null then."""
    return {name: None if value == [] and zero.get(name, []) is None else value for name, value in document.items()}


def blank(zero: Document) -> Document:
    """What an object has that says nothing at all."""
    return filled(zero, {})
