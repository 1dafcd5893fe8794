"""The last step of a VirtualMachine's life: its pods go, and the finalizer that kept the object."""

from __future__ import annotations

from collections.abc import Iterable

from app.controllers.documents import remove, take_off
from app.kinds import POD, VIRTUAL_MACHINE, names
from app.machinery.objects import Document
from app.store.base import Transaction


def forget(tx: Transaction, vm: Document, launchers: Iterable[Document]) -> None:
    """To be called only when no host has anything of the guest left, or none is left to ask."""
    for pod in launchers:
        remove(tx, POD, pod)
    take_off(tx, VIRTUAL_MACHINE, vm, names.VIRTUAL_MACHINE_FINALIZER)
