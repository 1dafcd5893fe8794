"""
Whether one host's libvirt reaches another's with the credentials that it has: asked without a guest's part in it.

libvirt opens the connection to the other host before it looks at what is to be moved. So a definition of our own, which is
never started, is to be moved there under another UUID: that is refused here, once the connection stands, before anything
is sent. The definition lives for some 10 ms.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any
from uuid import uuid4

import libvirt
import structlog

from app.hypervisor.base import PeerRefused
from app.hypervisor.libvirt_driver.connection import alive
from app.hypervisor.peer_probe import probe_name

log = structlog.get_logger()

_DEFINITION = (
    "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='KiB'>1024</memory>"
    "<os><type>hvm</type></os></domain>"
)
_FLAGS = libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_OFFLINE | libvirt.VIR_MIGRATE_PERSIST_DEST


def reach(peer_uri: str, connection: libvirt.virConnect) -> None:
    """Raises PeerRefused with libvirt's words; what else libvirt objects to, before it tries, as it comes."""
    uuid = uuid4()
    definition = _DEFINITION.format(name=probe_name(uuid, time.time()), uuid=uuid)
    defined = connection.defineXML(definition)
    try:
        _ask(defined, peer_uri, defined.XMLDesc().replace(str(uuid), str(uuid4())))
        log.warning("BUG: a probe arrived: libvirt compares no UUIDs", peer=peer_uri)
    except libvirt.libvirtError as error:
        code = error.get_error_code()
        if code == libvirt.VIR_ERR_CONFIG_UNSUPPORTED:
            return
        if not alive(connection):
            raise
        raise PeerRefused(error.get_error_message() or str(error), code) from error
    finally:
        with contextlib.suppress(libvirt.libvirtError):  # the next sweep takes it away
            defined.undefine()


def _ask(defined: Any, peer_uri: str, elsewhere: str) -> None:
    """A host that lets nothing leave it unencrypted (qemu.conf: migrate_tls_force) is asked for a way with TLS."""
    parameters = {libvirt.VIR_MIGRATE_PARAM_DEST_XML: elsewhere}
    try:
        defined.migrateToURI3(peer_uri, parameters, _FLAGS)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise
        defined.migrateToURI3(peer_uri, parameters, _FLAGS | libvirt.VIR_MIGRATE_TLS)
