"""What every object has: metadata, conditions, and how JSON documents and typed values meet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Document = dict[str, Any]
"""A JSON object as it travels and as it is stored. Treated as a value: copy before changing one that is shared."""


class Wire(BaseModel):
    """A shape on the wire: camelCase outside, snake_case inside. Unknown fields are ignored when read for a decision."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        defer_build=True,
    )

    @classmethod
    def read(cls, document: Document) -> Self:
        """The typed view of a document that has passed its kind's schema."""
        return cls.model_validate(document)

    def dump(self) -> Document:
        """The document; what is unset or None is left out, as in Kubernetes."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def in_utc(moment: str, *, micro: bool = False) -> str:
    """An RFC 3339 moment as the server writes it, in whole seconds (or to the microsecond) and `Z`: clients may write the
    same one otherwise.

    What is no moment stays as it is: who reads it refuses it."""
    if moment.endswith("Z") and len(moment) == len("2006-01-02T15:04:05.000000Z" if micro else "2006-01-02T15:04:05Z"):
        return moment
    try:
        at = datetime.fromisoformat(moment).astimezone(UTC).replace(tzinfo=None)
        # strftime writes the year 81 with two digits
        return at.isoformat(timespec="microseconds" if micro else "seconds") + "Z"
    except (ValueError, OverflowError):
        return moment


class OwnerReference(Wire):
    """Who an object belongs to: it goes when its owner goes."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    api_version: str
    """API version of the owner."""
    kind: str
    """Kind of the owner."""
    name: str
    """Name of the owner."""
    uid: str
    """UID of the owner: another object of the same name is another owner."""
    controller: bool | None = None
    """If true, this reference points to the managing controller; at most one does."""
    block_owner_deletion: bool | None = None
    """If true and the owner is deleted in the foreground, it waits for this object to go first."""


class ObjectMeta(Wire):
    """Metadata that every stored object carries."""

    name: str = ""
    """Name must be unique within a namespace. Cannot be updated."""
    generate_name: str | None = None
    """A prefix, used by the server to make a unique name only if name is not given."""
    namespace: str = ""
    """Namespace within which the name must be unique. Cannot be updated."""
    self_link: str | None = None
    """The path of this object. Filled in by the server, read-only."""
    uid: str = ""
    """Unique in time and space. Filled in by the server, read-only."""
    resource_version: str = ""
    """Grows with every change of the object; for optimistic concurrency and for watches. Read-only."""
    generation: int | None = None
    """Counts the changes of the desired state. Filled in by the server, read-only."""
    creation_timestamp: str | None = None
    """When the object was created, RFC 3339 in UTC. Filled in by the server, read-only."""
    deletion_timestamp: str | None = None
    """When deletion was asked for; the object goes once its finalizers are gone. Read-only."""
    deletion_grace_period_seconds: int | None = None
    """Seconds allowed for a graceful end before the object goes. Read-only."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Keys and values that selectors match."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Keys and values for tools and people; nothing selects by them."""
    owner_references: list[OwnerReference] = Field(
        default_factory=list,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "x-kubernetes-patch-merge-key": "uid",
            "x-kubernetes-patch-strategy": "merge",
        },
    )
    """Objects that this one depends on: when all of them are gone, it is deleted too."""
    finalizers: list[str] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"},
    )
    """Must be empty before the object is removed; each is the name of who still has something to do."""


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
