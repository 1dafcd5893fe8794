"""Event: something that happened to another object, told to people. Repeated ones are counted together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from app.kinds.shape import MAP_ATOMIC, Int32, MaybeTime, Nothing, Shape
from app.machinery.errors import FieldError, invalid, required
from app.machinery.kind import CORE, Column, Kind
from app.machinery.names import qualified_name
from app.machinery.objects import Document


class ObjectReference(Shape):
    """Names another object."""

    api_version: str | None = None
    """Its group and version."""
    kind: str | None = None
    """Its kind."""
    namespace: str | None = None
    """Its namespace."""
    name: str | None = None
    """Its name."""
    uid: str | None = None
    """Its uid."""
    resource_version: str | None = None
    """The version that it had."""
    field_path: str | None = None
    """Which part of it."""


class EventSource(Shape):
    """Who told it."""

    component: str | None = None
    """The program."""
    host: str | None = None
    """The node on which it runs."""


class EventSeries(Shape):
    """How often it was observed again."""

    count: Int32 | None = None
    """How often."""
    last_observed_time: MaybeTime | None = None
    """When last."""


class EventBody(Shape):
    """What happened."""

    involved_object: Annotated[ObjectReference, MAP_ATOMIC]
    """To which object it happened."""
    reason: str | None = None
    """What, in one CamelCase word for programs."""
    message: str | None = None
    """What, in a sentence for people."""
    source: EventSource | None = None
    """Who told it."""
    first_timestamp: MaybeTime | None = None
    """When it was first observed."""
    last_timestamp: MaybeTime | None = None
    """When it was last observed."""
    count: Int32 | None = None
    """How often it was observed."""
    type: str | None = None
    """Normal or Warning."""
    event_time: MaybeTime | None = None
    """When it was first observed, to the microsecond."""
    series: EventSeries | None = None
    """How often it was observed again."""
    action: str | None = None
    """What was done about it."""
    related: Annotated[ObjectReference | None, MAP_ATOMIC] = None
    """Another object that it concerns."""
    reporting_component: str | None = None
    """Which controller told it."""
    reporting_instance: str | None = None
    """Which of the controller's instances."""


LONGEST = {"reportingInstance": 128, "action": 128, "reason": 128, "message": 1024}
"""Characters, of an event that says when it was first observed to the microsecond."""


def _check(document: Document) -> Iterator[FieldError]:
    """kube-apiserver's rules: stricter for events in the newer form, which have an eventTime."""
    involved = (document.get("involvedObject") or {}).get("namespace") or ""
    namespace = (document.get("metadata") or {}).get("namespace")
    newer = bool(document.get("eventTime"))
    anywhere = ("default", "kube-system") if newer else ("default",)
    elsewhere = involved not in ("", namespace) and not newer
    if elsewhere or (not involved and namespace not in anywhere):
        yield invalid("involvedObject.namespace", involved, "does not match event.namespace")
    if newer:
        yield from _newer_problems(document)


def _default(document: Document) -> None:
    document["involvedObject"] = document.get("involvedObject") or {}


def _newer_problems(document: Document) -> Iterator[FieldError]:
    component = document.get("reportingComponent") or ""
    if not component:
        yield required("reportingComponent")
    yield from (invalid("reportingComponent", component, problem) for problem in qualified_name(component))
    for name, limit in LONGEST.items():
        said = document.get(name) or ""
        if not said and name != "message":
            yield required(name)
        if len(said.encode()) > limit:
            yield invalid(name, "", f"can have at most {limit} characters")


def _last_seen(document: Document) -> str | None:
    series = document.get("series") or {}
    return series.get("lastObservedTime") or document.get("lastTimestamp") or _first_seen(document)


def _first_seen(document: Document) -> str | None:
    first = document.get("firstTimestamp") or document.get("eventTime")
    return str(first) if first else None


def _count(document: Document) -> int:
    return int((document.get("series") or {}).get("count") or document.get("count") or 1)


def _object(document: Document) -> str:
    involved = document.get("involvedObject") or {}
    kind, name = str(involved.get("kind") or "").lower(), involved.get("name")
    return f"{kind}/{name}" if name else kind


def _subobject(document: Document) -> str:
    return str((document.get("involvedObject") or {}).get("fieldPath") or "")


def _message(document: Document) -> str:
    return str(document.get("message") or "").strip()


def _source(document: Document) -> str:
    source = document.get("source") or {}
    told = [
        source.get("component") or document.get("reportingComponent"),
        source.get("host") or document.get("reportingInstance"),
    ]
    return ", ".join(part for part in told if part)


EVENT: Kind[Nothing, Nothing] = Kind(
    name="Event",
    plural="events",
    served=(CORE,),
    spec=Nothing,
    status=Nothing,
    body=EventBody,
    description="Event is a report of something that happened to another object.",
    short_names=("ev",),
    typed=True,
    made_by_update=True,
    blank={
        "involvedObject": {},
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": None,
        "series": [{"lastObservedTime": None}],
        "reportingComponent": "",
        "reportingInstance": "",
    },
    any_name=True,
    columns=(
        Column("Last Seen", _last_seen, type="date", absent="<unknown>", description="When it was last observed."),
        Column("Type", "type", description="Normal or Warning."),
        Column("Reason", "reason", description="What happened, in a word."),
        Column("Object", _object, description="To which object."),
        Column("Subobject", _subobject, priority=1, description="To which part of it."),
        Column("Source", _source, priority=1, description="Who told it."),
        Column("Message", _message, description="What happened."),
        Column("First Seen", _first_seen, type="date", priority=1, absent="<unknown>", description="When first."),
        Column("Count", _count, priority=1, description="How often."),
        Column("Name", "metadata.name", priority=1, format="name", description="The event's own name."),
    ),
    selectable=(
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    default=_default,
    check_create=_check,
    check_update=lambda _old, new: _check(new),
    has_status=False,
)
