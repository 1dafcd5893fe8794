"""What the shapes of our kinds share: described fields, and the marks that patch and apply read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from app.machinery.errors import FieldError, invalid
from app.machinery.names import label_value, qualified_name
from app.machinery.objects import Condition, Document, Wire


class Shape(Wire):
    """A wire shape of ours. Each field's docstring is what `kubectl explain` prints of it."""

    def dump(self) -> Document:
        """As Wire.dump, and empty lists and maps are left out too: Kubernetes' `omitempty`."""
        pruned: Document = _pruned(super().dump())
        return pruned


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        pruned = {key: _pruned(item) for key, item in value.items()}
        return {key: item for key, item in pruned.items() if item not in ({}, [])}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


class Nothing(Shape):
    """The spec or status of a kind that has none."""


Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339 in UTC, `Z`."""
MaybeTime = Annotated[str, Field(json_schema_extra={"format": "date-time", "nullable": True})]
"""The same where null is written for none, as of core kinds: clients that are generated have to know."""

Int32 = Annotated[int, Field(json_schema_extra={"format": "int32"})]
"""A number that Go keeps in 32 bits."""

LabelMap = dict[str, str]

ATOMIC = Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})
"""The list is replaced as a whole, by apply and by strategic merge patches."""

SET = Field(json_schema_extra={"x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"})
"""The list is merged item by item, each of which stands in it once."""

MAP_ATOMIC = Field(json_schema_extra={"x-kubernetes-map-type": "atomic"})
"""The map is replaced as a whole by apply."""


def label_problems(path: str, labels: dict[str, str] | None) -> Iterator[FieldError]:
    """What is wrong with a map of labels, as kube-apiserver words it."""
    for key, value in (labels or {}).items():
        yield from (invalid(path, key, problem) for problem in qualified_name(key))
        yield from (invalid(path, value, problem) for problem in label_value(value))


def map_by(key: str) -> Any:
    """The list is a map by its items' `key`: apply and strategic merge patches merge item by item."""
    return Field(
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [key],
            "x-kubernetes-patch-merge-key": key,
            "x-kubernetes-patch-strategy": "merge",
        }
    )


class DescribedCondition(Condition, Shape):
    """One observation about the object."""

    type: str
    """What is observed; each type stands at most once in the list."""
    status: str
    """True, False or Unknown."""
    reason: str = ""
    """Why, in one CamelCase word for programs."""
    message: str = ""
    """Why, in a sentence for people."""
    last_transition_time: Time | None = None
    """When the status last changed."""
