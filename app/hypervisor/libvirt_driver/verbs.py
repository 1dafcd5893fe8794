"""Starting, stopping, defining and marking domains. Runs in the driver's threads."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import libvirt

from app.hypervisor import domain_mark as marks
from app.hypervisor.base import Busy, DomainExists, Job, Mark, Refused, State
from app.hypervisor.libvirt_driver.connection import alive
from app.hypervisor.libvirt_driver.looking import find, identity, job_of, state_of

_WHOLE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
"""Never a file: what a guest needs elsewhere must not go with its definition here."""


def define_and_start(domain_xml: str, paused: bool, connection: libvirt.virConnect) -> None:
    former = _former(connection, domain_xml)
    if former is not None and former.isActive():
        return
    definition = former.XMLDesc(_WHOLE) if former is not None else None
    defined = _define(connection, domain_xml)
    try:
        if defined.autostart():
            defined.setAutostart(False)
        defined.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
    except libvirt.libvirtError:
        if alive(connection) and not defined.isActive():
            _put_back(connection, defined, definition)
            raise
        if not alive(connection):
            raise


def _former(connection: libvirt.virConnect, domain_xml: str) -> Any | None:
    """What the host knows under that UUID."""
    try:
        return connection.lookupByUUID(identity(domain_xml)[0].bytes)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _define(connection: libvirt.virConnect, domain_xml: str) -> Any:
    try:
        return connection.defineXML(domain_xml)
    except libvirt.libvirtError as error:
        # libvirt has no code of its own for a name that is taken.
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED and _name_taken(connection, domain_xml):
            raise DomainExists(error.get_error_message() or str(error), error.get_error_code()) from error
        raise


def _name_taken(connection: libvirt.virConnect, domain_xml: str) -> bool:
    name = identity(domain_xml)[1]
    return any(found.name() == name for found in connection.listAllDomains())


def _put_back(connection: libvirt.virConnect, defined: Any, definition: str | None) -> None:
    if definition is None:
        _forget(defined)
    else:
        connection.defineXML(definition)


def power_off(domain: UUID, connection: libvirt.virConnect) -> None:
    found = find(connection, domain)
    if found.isActive():
        found.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)


def destroy(domain: UUID, unless_running: bool, connection: libvirt.virConnect) -> None:
    found = find(connection, domain)
    if not found.isActive():
        return
    if unless_running and state_of(found)[0] not in (State.PAUSED, State.CRASHED):
        raise Refused(f"{found.name()} runs: it is not destroyed")
    try:
        found.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_DEFAULT)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:  # it ended in the meantime
            raise


def suspend(domain: UUID, connection: libvirt.virConnect) -> None:
    found = find(connection, domain)
    if state_of(found)[0] is not State.PAUSED:
        found.suspend()


def resume(domain: UUID, connection: libvirt.virConnect) -> None:
    found = find(connection, domain)
    if state_of(found)[0] is not State.RUNNING:
        found.resume()


def undefine(domain: UUID, connection: libvirt.virConnect) -> None:
    try:
        found = find(connection, domain)
        # libvirt would make an active one transient: its definition would be lost with its end.
        if found.isActive():
            raise Refused(f"{found.name()} is active: only an inactive domain is undefined")
        _forget(found)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise


def make_transient(domain: UUID, connection: libvirt.virConnect) -> None:
    found = find(connection, domain)
    if not found.isActive():
        raise Refused(f"{found.name()} is not active: nothing would be left of it")
    if found.isPersistent():
        _forget(found)


def _forget(found: Any) -> None:
    """KEEP_TPM only where there is one: libvirt 9 hands it on to a list that does not know it, and logs an error each time."""
    has_tpm = "<tpm" in found.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    found.undefineFlags(_UNDEFINE | (libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM if has_tpm else 0))


def set_autostart(domain: UUID, on: bool, connection: libvirt.virConnect) -> None:
    find(connection, domain).setAutostart(on)


def write_mark(domain: UUID, mark: Mark, connection: libvirt.virConnect) -> None:
    found = find(connection, domain)
    if (job := job_of(found)) is not Job.NONE:
        raise Busy(f"{found.name()} has a job ({job.value}): it cannot be marked now")
    flags = libvirt.VIR_DOMAIN_AFFECT_LIVE if found.isActive() else 0
    flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG if found.isPersistent() else 0
    element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
    found.setMetadata(element, marks.mark_xml(mark), marks.MARK_PREFIX, marks.MARK_NAMESPACE, flags)
