"""What a host offers, and whether it would take a guest. Runs in the driver's threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import libvirt
import structlog

from app.hypervisor.base import Candidate, DomainExists, GuestCpus, Host
from app.hypervisor.capabilities import (
    Capabilities,
    host_interfaces,
    host_model_cpu,
    read_capabilities,
    read_guest_cpus,
)
from app.hypervisor.libvirt_driver.connection import alive
from app.hypervisor.libvirt_driver.vocabulary import KIB

log = structlog.get_logger()


_COMPARED = ("", "x86_64", "i686", "s390x")
"""Of other architectures libvirt compares no CPUs."""


def judge(guest: Candidate, connection: libvirt.virConnect) -> None:
    for found in (_found(connection.lookupByUUID, guest.uuid.bytes), _found(connection.lookupByName, guest.name)):
        if found is not None and (found.isActive() or UUID(bytes=found.UUID()) != guest.uuid):
            raise DomainExists(f"a domain {found.name()} ({found.UUIDString()}) is there")
    if guest.cpu_xml and guest.arch in _COMPARED:
        # On no it raises CPU_INCOMPATIBLE, and names what is missing.
        flags = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
        machine, kind = guest.machine or None, guest.domain_type or None
        connection.compareHypervisorCPU(None, guest.arch or None, machine, kind, guest.cpu_xml, flags)


def _found(look_up: Callable[[Any], Any], what: Any) -> Any | None:
    try:
        return look_up(what)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def is_awake(connection: libvirt.virConnect) -> None:
    """Answered also while all ordinary workers are busy."""
    connection.getInfo()


def use_worker(connection: libvirt.virConnect) -> None:
    """The cheapest call that needs an ordinary worker: no guest has a part in it."""
    connection.getCPUMap()


def capabilities_of(connection: libvirt.virConnect) -> tuple[Capabilities, tuple[GuestCpus, ...]]:
    read = read_capabilities(connection.getCapabilities())
    return read, tuple(_guest_cpus(read.arch, kind, connection) for kind in read.domain_types)


def _guest_cpus(arch: str, domain_type: str, connection: libvirt.virConnect) -> GuestCpus:
    xml = connection.getDomainCapabilities(None, arch, None, domain_type)
    return read_guest_cpus(xml, domain_type, _expanded(host_model_cpu(xml), arch, domain_type, connection))


def _expanded(cpu: str, arch: str, domain_type: str, connection: libvirt.virConnect) -> str:
    """With the features that the model's name stands for; empty where this libvirt cannot say."""
    flags = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
    try:
        return str(connection.baselineHypervisorCPU(None, arch, None, domain_type, [cpu], flags)) if cpu else ""
    except libvirt.libvirtError as error:
        if alive(connection):
            log.info("no list of CPU features", domain_type=domain_type, error=error.get_error_message())
            return ""
        raise


def read_host(read: Capabilities, cpus: tuple[GuestCpus, ...], connection: libvirt.virConnect) -> Host:
    memory = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    unused = sum(memory.get(part, 0) for part in ("free", "buffers", "cached"))
    networks = _listed(connection, lambda: connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE))
    interfaces = _listed(connection, lambda: connection.listAllInterfaces(libvirt.VIR_CONNECT_LIST_INTERFACES_ACTIVE))
    return Host(
        uuid=read.uuid,
        hostname=connection.getHostname(),
        arch=read.arch,
        cpus=connection.getInfo()[2],
        memory=memory["total"] * KIB,
        memory_free=unused * KIB,
        hypervisor_version=version_text(connection.getVersion()),
        libvirt_version=version_text(connection.getLibVersion()),
        cpu_model=cpus[0].model if cpus else "",
        machine_types=read.machine_types,
        domain_types=read.domain_types,
        guest_cpus=cpus,
        hugepages=read.hugepages,
        networks=networks,
        interfaces=None if interfaces is None else host_interfaces(interfaces),
    )


def _listed(connection: libvirt.virConnect, call: Callable[[], list[Any]]) -> tuple[str, ...] | None:
    """Names; None where this libvirt was built or installed without that driver."""
    try:
        return tuple(sorted(one.name() for one in call()))
    except libvirt.libvirtError:
        if alive(connection):
            return None
        raise


def version_text(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
