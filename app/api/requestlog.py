"""Requests in the log: those that failed or took long, and more if it is asked for. Each under the id that its answer bears."""

from __future__ import annotations

from enum import StrEnum

import structlog

from app.api.requests import Request

log = structlog.get_logger()

SLOW_S = 2.0
"""What takes longer is told: clients are felt to wait."""

_READS = frozenset(("GET", "HEAD", "OPTIONS"))


class Told(StrEnum):
    """Which requests are told."""

    FAILED = "failed"
    """Those that failed because of us (5xx), and slow ones: the others are counted by the metrics, and cost nothing here."""
    WRITES = "writes"
    """And whatever changes something, or was to."""
    ALL = "all"


class RequestLog:
    """Called once for each request, when its answer is out."""

    def __init__(self, told: Told = Told.FAILED) -> None:
        self._writes = told is not Told.FAILED
        self._reads = told is Told.ALL

    def answered(self, request: Request, code: int, took_s: float, *, lasts: bool) -> None:
        if code < 500 and (took_s < SLOW_S or lasts) and not self._wants(request):
            return
        asked = request.attributes
        fields = {
            "audit_id": request.audit_id.decode("latin-1"),
            "user": request.user.name,
            "impersonator": request.impersonator.name if request.impersonator else "",
            "verb": asked.verb or request.method.lower(),
            "resource": asked.full_resource,
            "namespace": asked.namespace,
            "name": asked.name,
            "path": "" if asked.resource else request.path,
            "client": request.peer.address,
        }
        told = {name: value for name, value in fields.items() if value}
        log.info("request", code=code, latency_ms=round(took_s * 1000, 1), **told)

    def _wants(self, request: Request) -> bool:
        return self._reads if request.method in _READS else self._writes
