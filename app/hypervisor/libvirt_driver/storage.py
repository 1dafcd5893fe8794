"""Disks of guests, made and removed through libvirt's pools. Runs in the driver's threads."""

from __future__ import annotations

import errno
import posixpath
import time
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID, uuid4
from xml.etree.ElementTree import Element, SubElement, tostring

import libvirt

from app.hypervisor.libvirt_driver.looking import find, read_facts

T = TypeVar("T")

POOL_ATTEMPTS = 15
POOL_WAIT_S = 0.2
_POOL_IN_THE_WAY = frozenset(
    {
        libvirt.VIR_ERR_OPERATION_FAILED,
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_INTERNAL_ERROR,
    }
)


def disk_sizes(domain: UUID, connection: libvirt.virConnect) -> dict[str, int]:
    found = find(connection, domain)
    disks = [disk.target for disk in read_facts(str(found.XMLDesc(0))).disks if disk.path and not disk.read_only]
    return {disk: int(found.blockInfo(disk)[0]) for disk in disks}


def disk_usage(domain: UUID, connection: libvirt.virConnect) -> dict[str, int]:
    """What lies below an image is copied into it, and of that libvirt tells no sum: then it may become as large as it can."""
    found = find(connection, domain)
    usage = {}
    for disk in read_facts(str(found.XMLDesc(0))).disks:
        if disk.path and not disk.read_only:
            capacity, allocation, _ = found.blockInfo(disk.target)
            usage[disk.target] = int(capacity if disk.layered else min(capacity, allocation))
    return usage


def find_file(path: str, connection: libvirt.virConnect) -> int | None:
    folder, name = posixpath.split(path)
    try:
        return in_pool(connection, folder, lambda pool: _file_size(pool.storageVolLookupByName(name)))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL or _no_folder(error):
            return None
        raise


def _file_size(volume: Any) -> int:
    return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])


def _no_folder(error: libvirt.libvirtError) -> bool:
    return bool(error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR and error.get_int1() == errno.ENOENT)


def free_space(path: str, connection: libvirt.virConnect) -> int | None:
    try:
        return in_pool(connection, posixpath.dirname(path), lambda pool: int(pool.info()[3]))
    except libvirt.libvirtError as error:
        if _no_folder(error):
            return None
        raise


def make_disk(path: str, form: str, size: int, connection: libvirt.virConnect) -> None:
    folder, name = posixpath.split(path)
    in_pool(connection, folder, lambda pool: pool.createXML(volume_xml(name, form, size), 0), make=True)


def remove_disk(path: str, connection: libvirt.virConnect) -> None:
    folder, name = posixpath.split(path)

    def remove(pool: Any) -> None:
        try:
            pool.storageVolLookupByName(name).delete(0)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise

    in_pool(connection, folder, remove)


def in_pool(connection: libvirt.virConnect, folder: str, use: Callable[[Any], T], *, make: bool = False) -> T:
    """In the pool of that folder: the operator's where there is one, else one that is gone afterwards."""
    return tried(lambda: _use_pool(connection, folder, use, make))


def tried(attempt: Callable[[], T]) -> T:
    """Another connection may be using a pool of that folder, and take its own away meanwhile: so it is tried again."""
    for left in reversed(range(POOL_ATTEMPTS)):
        try:
            return attempt()
        except libvirt.libvirtError as error:
            if not left or error.get_error_code() not in _POOL_IN_THE_WAY:
                raise
        time.sleep(POOL_WAIT_S)
    raise AssertionError("BUG: the last attempt raises")


def _use_pool(connection: libvirt.virConnect, folder: str, use: Callable[[Any], T], make: bool) -> T:
    try:
        found = connection.storagePoolLookupByTargetPath(folder)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
            raise
    else:
        found.refresh(0)
        return use(found)
    made = new_pool(connection, folder, make)
    try:
        return use(made)
    finally:
        made.destroy()


def new_pool(connection: libvirt.virConnect, folder: str, make: bool) -> Any:
    """Built only where the folder is not there: building would change the rights of one that is."""
    xml = _pool_xml(f"drover-{uuid4().hex[:12]}", folder)
    try:
        return connection.storagePoolCreateXML(xml, 0)
    except libvirt.libvirtError:
        if not make:
            raise
        return connection.storagePoolCreateXML(xml, libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)


def _pool_xml(name: str, folder: str) -> str:
    pool = Element("pool", {"type": "dir"})
    SubElement(pool, "name").text = name
    SubElement(SubElement(pool, "target"), "path").text = folder
    return tostring(pool, encoding="unicode")


def volume_xml(name: str, form: str, size: int) -> str:
    volume = Element("volume")
    SubElement(volume, "name").text = name
    SubElement(volume, "capacity", {"unit": "bytes"}).text = str(size)
    SubElement(volume, "allocation").text = "0"
    SubElement(SubElement(volume, "target"), "format", {"type": form})
    return tostring(volume, encoding="unicode")
