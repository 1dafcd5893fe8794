"""What pods reserve of their nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.controllers.placement.fleet import NOTHING, Load, added
from app.controllers.placement.nodes import hugepages_of
from app.kinds import quantity
from app.machinery.objects import Document

_FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Requests:
    """What a pod reserves. Memory in bytes, CPU in thousandths."""

    memory: int
    cpu_milli: int
    hugepages: tuple[tuple[int, int], ...] = ()
    """(Size of a page, bytes in such pages)."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A pod that is bound to a node and not finished."""

    node: str
    requests: Requests


def reservation(pod: Document) -> Reservation | None:
    """None for a pod that reserves nothing."""
    node = (pod.get("spec") or {}).get("nodeName")
    if not node or (pod.get("status") or {}).get("phase") in _FINISHED:
        return None
    return Reservation(node, requests_of(pod))


def requests_of(pod: Document) -> Requests:
    """The sum over its containers."""
    listed = [
        ((container.get("resources") or {}).get("requests") or {})
        for container in (pod.get("spec") or {}).get("containers") or ()
    ]
    hugepages: tuple[tuple[int, int], ...] = ()
    for requests in listed:
        hugepages = added(hugepages, hugepages_of(requests))
    return Requests(
        sum(quantity.whole(requests.get("memory", "0")) for requests in listed),
        sum(quantity.milli(requests.get("cpu", "0")) for requests in listed),
        hugepages,
    )


def loads(reservations: Iterable[Reservation], arriving: Mapping[str, int] | None = None) -> dict[str, Load]:
    """What is taken of each node, and how many guests are on their way to it."""
    found: dict[str, Load] = {}
    for one in reservations:
        found[one.node] = laden(found.get(one.node, NOTHING), one.requests)
    for node, count in (arriving or {}).items():
        load = found.get(node, NOTHING)
        found[node] = Load(load.memory, load.cpu_milli, load.hugepages, count)
    return found


def laden(load: Load, requests: Requests) -> Load:
    """With one more pod."""
    return _changed(load, requests, 1)


def lightened(load: Load, requests: Requests) -> Load:
    """Without one of its pods."""
    return _changed(load, requests, -1)


def _changed(load: Load, requests: Requests, sign: int) -> Load:
    return Load(
        load.memory + sign * requests.memory,
        load.cpu_milli + sign * requests.cpu_milli,
        added(load.hugepages, ((size, sign * amount) for size, amount in requests.hugepages)),
        load.arriving,
    )
