"""What the controllers must know of a VirtualMachine's guest, answered by builders that wiring hands in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.hypervisor.base import Mark
from app.machinery.objects import Document


@dataclass(frozen=True, slots=True)
class Size:
    """What the guest asks of a host; memory in bytes."""

    memory: int
    vcpus: int


class Guests(Protocol):
    """Reads and writes domain XML. Pure; a definition that cannot be read raises ValueError with a text for people."""

    def size(self, vm: Document) -> Size:
        """From spec.domain or spec.domainXML."""

    def definition(self, vm: Document, mark: Mark) -> str:
        """The domain XML that a host is given: named <namespace>_<name>, UUID metadata.uid, with Drover's mark."""

    def blocker(self, domain_xml: str) -> str | None:
        """Why a guest with that live XML cannot be moved, as far as its definition tells; None when it can."""

    def graphics(self, domain_xml: str) -> list[Document]:
        """Its graphical consoles: type, host, port."""
