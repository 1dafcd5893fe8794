"""What this side counts, under kube-apiserver's names and labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from app.api.routes import Served, Target
from app.meter import Counts, Labels, Level, Levels, Times

DURATIONS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
)  # fmt: skip
"""kube-apiserver's."""

LASTING = frozenset(("watch", "log"))
"""Their duration is how long a client stays, not how long it waited."""

_VERBS = {"create": "POST", "update": "PUT", "delete": "DELETE", "deletecollection": "DELETECOLLECTION"}
_READING = frozenset(("get", "list", "head", "options"))
_RESOURCE = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")


class Asked(NamedTuple):
    """A request as metrics tell it apart. Bounded: no name and no path of a client's making is in it."""

    verb: str
    """Kubernetes' lower-case verb: get, list, watch, create, update, patch, apply, delete, deletecollection, log."""
    served: Served | None
    subresource: str
    scope: str
    dry_run: bool


Answered = tuple[Asked, int]


def asked(verb: str, target: Target | None, *, dry_run: bool = False) -> Asked:
    """The verb is the method for what is no resource."""
    if target is None:
        return Asked(verb.lower(), None, "", "", dry_run=False)
    # What follows the name of a custom resource may be anything at all.
    known = target.subresource
    if known and known not in _subresources(target.served):
        known = ""
    return Asked(verb, target.served, known, _scope(verb, target), dry_run)


def _subresources(served: Served) -> tuple[str, ...]:
    return ("status", *(declared.name for declared in served.kind.subresources))


def _scope(verb: str, target: Target) -> str:
    if target.name or verb == "create":
        return "resource"
    return "namespace" if target.namespace else "cluster"


class Metrics:
    """Counts requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests: Counts[Answered] = Counts(
            registry,
            "apiserver_request_total",
            "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope,"
            " component, and HTTP response code.",
            (*_RESOURCE, "code"),
            lambda answered: (*_labels(answered[0]), str(answered[1])),
        )
        self._durations: Times[Asked] = Times(
            registry,
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, dry run value, group, version, resource,"
            " subresource, scope and component; watches and followed logs aside.",
            _RESOURCE,
            _labels,
            DURATIONS,
        )
        self._events: Counts[Served] = Counts(
            registry,
            "apiserver_watch_events_total",
            "Number of events sent in watch clients.",
            ("group", "version", "resource"),
            _served,
        )
        self._lasting: dict[Asked, int] = {}
        Levels(
            registry,
            "apiserver_longrunning_requests",
            "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and"
            " component.",
            ("verb", "group", "version", "resource", "subresource", "scope", "component"),
            self._open,
        )
        self._inflight = {"mutating": 0, "readOnly": 0}
        Levels(
            registry,
            "apiserver_current_inflight_requests",
            "Number of currently used inflight request limit of this apiserver per request kind.",
            ("request_kind",),
            lambda: (((kind,), count) for kind, count in self._inflight.items()),
        )

    def answered(self, request: Asked, code: int, took_s: float) -> None:
        self._requests.add((request, code))
        if request.verb not in LASTING:
            self._durations.observe(request, took_s)

    def began(self, request: Asked) -> None:
        """What lasts is not counted among what is in flight."""
        if request.verb not in LASTING:
            self._inflight["readOnly" if request.verb in _READING else "mutating"] += 1

    def ended(self, request: Asked) -> None:
        if request.verb not in LASTING:
            self._inflight["readOnly" if request.verb in _READING else "mutating"] -= 1

    @contextmanager
    def lasting(self, request: Asked) -> Iterator[None]:
        """Around an answer that streams."""
        self._lasting[request] = self._lasting.get(request, 0) + 1
        try:
            yield
        finally:
            self._lasting[request] -= 1

    def told(self, served: Served, events: int) -> None:
        """So many events went out to one watch."""
        if events:
            self._events.add(served, events)

    def _open(self) -> Iterator[Level]:
        for request, count in self._lasting.items():
            verb, _, *rest = _labels(request)
            yield (verb, *rest), count


def _served(served: Served) -> Labels:
    return served.group_version.group, served.group_version.version, served.kind.plural


def _labels(request: Asked) -> Labels:
    """As kube-apiserver spells them: its verbs are upper-case, and those of writes are methods."""
    verb = _VERBS.get(request.verb, "GET" if request.verb == "log" else request.verb.upper())
    place = ("", "", "") if request.served is None else _served(request.served)
    return verb, "All" if request.dry_run else "", *place, request.subresource, request.scope, "apiserver"
