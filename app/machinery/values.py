"""Values of which each request makes many: frozen to who reads the code and to mypy, not to Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(*, eq: bool = True, order: bool = False, slots: bool = True) -> Callable[[type[T]], type[T]]:
    """As `dataclass(frozen=True, slots=True)`, but that only mypy refuses an assignment. To refuse them itself, Python sets
    each field of a new one in a way that takes seven times as long: for a create a tenth of everything."""
    return dataclass(eq=eq, order=order, unsafe_hash=eq, slots=slots)
