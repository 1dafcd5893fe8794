"""Hosts and controllers that stand for one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.lab.hosts import LabHosts


@pytest.fixture
def hosts() -> Iterator[LabHosts]:
    """node0 and node1: real libvirtd, in a folder of their own."""
    with LabHosts.temporary("node0", "node1") as standing:
        yield standing
