"""A driver whose hosts never answer, for processes of their own: named by its path."""

from __future__ import annotations

from app.hypervisor.base import Hypervisors
from app.hypervisor.fake import FakeCloud, FakeHypervisors


def silent_factory() -> Hypervisors:
    cloud = FakeCloud("node0", "node1")
    cloud.cut_off("node0")
    cloud.cut_off("node1")
    return FakeHypervisors(cloud)
