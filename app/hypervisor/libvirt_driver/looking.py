"""What a host says of its domains. Runs in the driver's threads; libvirt's errors are translated by the caller."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import libvirt

from app.hypervisor import domain_facts
from app.hypervisor import domain_mark as marks
from app.hypervisor.base import Domain, Inspection, Job, Mark, Reason, Refused, State
from app.hypervisor.domain_facts import DomainFacts
from app.hypervisor.domain_tree import BadXml
from app.hypervisor.libvirt_driver.vocabulary import JOBS, KIB, REASONS, STATES


def find(connection: libvirt.virConnect, domain: UUID) -> Any:
    return connection.lookupByUUID(domain.bytes)


def look(domain: UUID, connection: libvirt.virConnect) -> Domain:
    try:
        return _glance(find(connection, domain))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return Domain(domain, State.ABSENT)
        raise


def list_domains(connection: libvirt.virConnect) -> list[Domain]:
    seen = (look(UUID(bytes=found.UUID()), connection) for found in connection.listAllDomains())
    return [domain for domain in seen if domain.state is not State.ABSENT]


def _glance(found: Any) -> Domain:
    """Only calls that libvirtd answers while all its ordinary workers are busy."""
    state, reason = state_of(found)
    persistent = bool(found.isPersistent())
    return Domain(
        uuid=UUID(bytes=found.UUID()),
        state=state,
        reason=reason,
        name=found.name(),
        persistent=persistent,
        autostart=persistent and bool(found.autostart()),
        memory=found.maxMemory() * KIB,
    )


def state_of(found: Any) -> tuple[State, Reason]:
    number, detail = found.state()
    state = STATES.get(number, State.RUNNING)
    return state, REASONS.get((state, detail), Reason.OTHER)


def probe(seen: list[Domain], connection: libvirt.virConnect) -> list[Domain]:
    return [_probed(domain, connection) for domain in seen]


def _probed(domain: Domain, connection: libvirt.virConnect) -> Domain:
    """The state is read again after the job: a job that has just ended must not leave an older state beside it."""
    if domain.state is State.ABSENT:
        return domain
    try:
        found = find(connection, domain.uuid)
        job, mark, vcpus = job_of(found), _read_mark(found), _vcpus(found)
        return replace(_glance(found), job=job, mark=mark, vcpus=vcpus)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return Domain(domain.uuid, State.ABSENT)
        raise


def job_of(found: Any) -> Job:
    stats = job_stats(found)
    if stats is None:
        return Job.MIGRATION_IN
    if stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE:
        return Job.NONE
    return JOBS.get(stats.get("operation", 0), Job.OTHER)


def job_stats(found: Any) -> dict[str, Any] | None:
    """Empty without a job. None for a guest that arrives: libvirt has numbers only where it leaves."""
    try:
        stats: dict[str, Any] = found.jobStats()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            return {}  # it is not running
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
            return None
        raise
    return stats


def _vcpus(found: Any) -> int:
    return int(found.vcpusFlags(libvirt.VIR_DOMAIN_VCPU_MAXIMUM))


def _read_mark(found: Any) -> Mark | None:
    try:
        text = found.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, marks.MARK_NAMESPACE)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            return None
        raise
    return marks.read_mark(text)


def definition_of(domain: UUID, connection: libvirt.virConnect) -> str:
    flags = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
    return str(find(connection, domain).XMLDesc(flags))


def inspect(domain: UUID, connection: libvirt.virConnect) -> Inspection:
    found = find(connection, domain)
    if not found.isActive():
        raise Refused(f"{found.name()} is not running")
    xml = str(found.XMLDesc(0))
    disks = [disk.target for disk in read_facts(xml).disks if disk.device == "disk" and disk.target]
    return Inspection(xml, found.snapshotNum(), tuple(disk for disk in disks if found.blockJobInfo(disk, 0)))


def identity(domain_xml: str) -> tuple[UUID, str]:
    """UUID and name."""
    facts = read_facts(domain_xml)
    if facts.uuid is None:
        raise Refused("the definition has no UUID")
    return facts.uuid, facts.name


def read_facts(domain_xml: str) -> DomainFacts:
    try:
        return domain_facts.read(domain_xml)
    except BadXml as error:
        raise Refused(f"the definition {error}") from error
