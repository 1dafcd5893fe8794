"""What every object has: metadata, conditions, and how JSON documents and typed values meet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Document = dict[str, Any]
"""A JSON object as it travels and as it is stored. Treated as a value: copy before changing one that is shared."""


class Wire(BaseModel):
    """A shape on the wire: camelCase outside, snake_case inside. Unknown fields are ignored when read for a decision."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    @classmethod
    def read(cls, document: Document) -> Self:
        """The typed view of a document that has passed its kind's schema."""
        return cls.model_validate(document)

    def dump(self) -> Document:
        """The document; what is unset or None is left out, as in Kubernetes."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class OwnerReference(Wire):
    """Who an object belongs to: it goes when its owner goes."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Wire):
    """Metadata that every stored object carries."""

    name: str = ""
    generate_name: str | None = None
    namespace: str = ""
    self_link: str | None = None
    uid: str = ""
    resource_version: str = ""
    generation: int | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: list[OwnerReference] = Field(default_factory=list)
    finalizers: list[str] = Field(default_factory=list)


class Condition(Wire):
    """One observation about an object: its type is from a closed set of its kind, its reason is for programs."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


SpecT = TypeVar("SpecT", bound=BaseModel)
StatusT = TypeVar("StatusT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Object(Generic[SpecT, StatusT]):
    """A typed, read-only view of a stored document. To change an object, change (a copy of) its document."""

    metadata: ObjectMeta
    spec: SpecT
    status: StatusT


def with_condition(conditions: Iterable[Condition], new: Condition, now: str) -> list[Condition]:
    """The conditions with `new` in the place of its type; the transition time moves only when the status does."""
    kept = []
    stamped = new.model_copy(update={"last_transition_time": now})
    found = False
    for old in conditions:
        if old.type != new.type:
            kept.append(old)
            continue
        found = True
        if old.status == new.status:
            stamped = new.model_copy(update={"last_transition_time": old.last_transition_time or now})
        kept.append(stamped)
    if not found:
        kept.append(stamped)
    return kept


def condition_of(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of that type, if there is one."""
    return next((c for c in conditions if c.type == type_), None)
