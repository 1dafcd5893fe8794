"""Hosts and controllers that stand for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from app.lab.hosts import LabHosts
from tests.controllers.migration.process_scene import Scene, standing


@pytest.fixture
def hosts() -> Iterator[LabHosts]:
    """node0 and node1: real libvirtd, in a folder of their own."""
    with LabHosts.temporary("node0", "node1") as standing:
        yield standing


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Simulated hosts, and a guest that is to move."""
    async with standing() as found:
        yield found
