"""What every controller of the hosts' side needs, handed in once by wiring."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.controllers.birth import Birth
from app.controllers.events import Recorder
from app.controllers.metrics import HostMetrics, LoopMetrics
from app.store.base import Store


@dataclass(frozen=True, slots=True)
class Tools:
    """The store, the recorder of Events, and the clocks."""

    store: Store
    birth: Birth = field(default_factory=Birth)
    recorder: Recorder = field(default_factory=Recorder)
    clock: Callable[[], float] = time.monotonic
    loops: LoopMetrics = field(default_factory=LoopMetrics)
    hosts: HostMetrics = field(default_factory=HostMetrics)

    @property
    def store_id(self) -> str:
        """Which store manages a guest: stands in the guest's metadata."""
        return str(self.store.id)
