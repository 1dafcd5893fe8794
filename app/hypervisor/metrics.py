"""How long hosts take for what they are asked, and how often they do not do it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry

from app.hypervisor.base import HypervisorError
from app.meter import Counts, Labels, Times, as_it_is
from app.tracing import inside


class CallMetrics:
    """Of one process's calls; those of the processes that move guests are not among them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._calls: Times[Labels] = Times(
            registry,
            "drover_libvirt_call_duration_seconds",
            "How long libvirt took for a call that it answered, the wait for a free thread included, by verb and host.",
            ("verb", "host"),
            as_it_is,
        )
        self._errors: Counts[Labels] = Counts(
            registry,
            "drover_libvirt_call_errors_total",
            "Calls of libvirt that ended with an error, by verb, host and the kind of error.",
            ("verb", "host", "error"),
            as_it_is,
        )

    @contextmanager
    def call(self, verb: str, uri: str) -> Iterator[None]:
        """Around one; what it raises goes on."""
        host, began = host_of(uri), time.perf_counter()
        try:
            with inside(f"libvirt {verb}", server__address=host):
                yield
        except HypervisorError as error:
            self._errors.add((verb, host, type(error).__name__))
            raise
        self._calls.observe((verb, host), time.perf_counter() - began)


@lru_cache(maxsize=4096)
def host_of(uri: str) -> str:
    """The host of a libvirt URI, without user or password; of a local one its socket, if it names one."""
    parts = urlsplit(uri)
    if parts.hostname:
        return parts.hostname
    return parse_qs(parts.query).get("socket", ["localhost"])[0]
