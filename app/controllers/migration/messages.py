"""What a migration's process and its worker say to one another: one JSON object a line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from app.controllers.migration.steps import Step
from app.kinds.migration import Mode, Word
from app.machinery.objects import Document, Wire


class Renewed(Wire):
    """Worker → process: the hosts may be spoken to until then."""

    kind: Literal["renewed"] = "renewed"
    deadline_s: float
    """On CLOCK_BOOTTIME, which also counts while the machine sleeps."""


class Cancel(Wire):
    """Worker → process: give the migration up, if it is not too late."""

    kind: Literal["cancel"] = "cancel"


class Retuned(Wire):
    """Worker → process: what may be changed on the way, as it is now."""

    kind: Literal["retuned"] = "retuned"
    bandwidth: int | None = None
    """Bytes per second; None is no cap."""
    max_downtime_ms: int


class Told(Wire):
    """Worker → process: what the operator says, as it is now. Sent while the guest is held."""

    kind: Literal["told"] = "told"
    resolve: Word | None = None
    """Where the guest is."""
    off: tuple[str, ...] = ()
    """Nodes whose hosts are off and fenced."""
    arrived: bool = False
    """The guest was seen running on the target, perhaps by a process before this one."""


class Alive(Wire):
    """Process → worker: its loop turns."""

    kind: Literal["alive"] = "alive"


class Reached(Wire):
    """Process → worker: that step has begun."""

    kind: Literal["reached"] = "reached"
    step: Step


class Sampled(Wire):
    """Process → worker: how far the copy is. Bytes; rates per second."""

    kind: Literal["sampled"] = "sampled"
    total: int
    processed: int
    remaining: int
    memory_rate: int
    dirty_rate: int
    iteration: int
    elapsed_ms: int
    throttle: int = 0
    postcopy_requests: int = 0


class Started(Wire):
    """Process → worker: libvirt was asked to move the guest."""

    kind: Literal["started"] = "started"
    at: str
    autostart: bool = False
    """That flag of an adopted guest was taken off, to be given back."""


class Noticed(Wire):
    """Process → worker: something that people should see in an Event."""

    kind: Literal["noticed"] = "noticed"
    reason: str
    message: str
    warning: bool = False


class Steered(Wire):
    """Process → worker: how the memory moves from now on."""

    kind: Literal["steered"] = "steered"
    mode: Mode


class Arrived(Wire):
    """Process → worker: the guest runs on the target; the source's copy is stopped but perhaps still there."""

    kind: Literal["arrived"] = "arrived"
    at: str


class Holding(Wire):
    """Process → worker: nobody can say where the guest is until a host answers. An empty message ends it."""

    kind: Literal["holding"] = "holding"
    message: str
    refused: str = ""
    """The evidence against the operator's word, where there is both."""
    busy: bool = False
    """All hosts answer, and it is libvirt on one of them that does not come to an end."""


class Ended(Wire):
    """Process → worker: what was learned; the exit code follows."""

    kind: Literal["ended"] = "ended"
    result: Document


Order = Renewed | Cancel | Retuned | Told
Report = Alive | Reached | Sampled | Started | Noticed | Steered | Arrived | Holding | Ended

_ORDERS: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="kind")])
_REPORTS: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])


def line(message: Wire) -> bytes:
    """The message as it travels."""
    return message.model_dump_json(by_alias=True).encode() + b"\n"


def order(text: bytes) -> Order:
    return _ORDERS.validate_json(text)


def report(text: bytes) -> Report:
    return _REPORTS.validate_json(text)
