"""Hosts in memory that keep the port's contract: guests that dirty pages, links with a bandwidth, faults on demand."""

from app.hypervisor.fake.cloud import EPYC, MIB, FakeCloud
from app.hypervisor.fake.driver import FakeHypervisors

__all__ = ["EPYC", "MIB", "FakeCloud", "FakeHypervisors"]
