"""What a guest asks of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.controllers.placement.nodes import NodeView, Taint
from app.kinds.migration_options import Compression
from app.machinery.objects import Document

_MIB = 2**20


class Contradiction(Exception):
    """The VM's node selector and the Migration's want different values of one key: no node can have both."""

    def __init__(self, key: str, vm_value: str, migration_value: str) -> None:
        super().__init__(f"the VirtualMachine wants {key}={vm_value}, the Migration wants {key}={migration_value}")
        self.key = key
        self.vm_value = vm_value
        self.migration_value = migration_value


@dataclass(frozen=True, slots=True)
class Toleration:
    """Lets a guest onto nodes with a taint, as in Kubernetes: an empty key with Exists matches all, an empty effect each."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: Taint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == taint.value)


@dataclass(frozen=True, slots=True)
class GuestCpu:
    """The CPU that a guest sees. An empty mode asks nothing."""

    mode: str = ""
    """custom, host-passthrough, maximum; what the host itself chooses (host-model) asks nothing."""
    model: str = ""
    features: frozenset[str] = frozenset()
    """Required beside the model's own."""
    disabled: frozenset[str] = frozenset()
    """Of the model, and not the guest's."""


@dataclass(frozen=True, slots=True)
class HostNeeds:
    """What a guest's definition asks of a host beside memory and CPUs. Empty asks nothing."""

    domain_type: str = ""
    """kvm or qemu."""
    arch: str = ""
    """libvirt's word: x86_64."""
    machine: str = ""
    cpu: GuestCpu = GuestCpu()
    networks: frozenset[str] = frozenset()
    """libvirt networks."""
    interfaces: frozenset[str] = frozenset()
    """Bridges and other host interfaces."""
    shared_paths: tuple[str, ...] = ()
    """Paths that the node must share with the one that the guest leaves: its disks are there."""


@dataclass(frozen=True, slots=True)
class Need:
    """All that a guest asks of a node. `affinity` is a core v1 nodeAffinity."""

    memory: int
    """Bytes, QEMU's overhead included, what lies in huge pages not."""
    cpu_milli: int
    hugepages: tuple[tuple[int, int], ...] = ()
    """(Size of a page, bytes in such pages)."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    affinity: Document = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    host: HostNeeds = HostNeeds()
    encrypted: bool = False
    """The guest's memory may cross the network only encrypted."""
    compression: Compression | None = None
    """How it is to be packed on its way."""
    source: str | None = None
    """The node that the guest leaves; None when it is started for the first time."""
    origin: NodeView | None = None
    """What is known of that node: the guest runs there, so what it offers is what a target must match."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Nodes that are out for another reason, which is said: `node(s) already have a domain of that name`."""

    def tolerates(self, taint: Taint) -> bool:
        return any(toleration.tolerates(taint) for toleration in self.tolerations)


def merge_selectors(vm: Mapping[str, str], migration: Mapping[str, str]) -> dict[str, str]:
    """Both selectors in one. Raises Contradiction."""
    for key in sorted(vm.keys() & migration.keys()):
        if vm[key] != migration[key]:
            raise Contradiction(key, vm[key], migration[key])
    return {**vm, **migration}


def overhead(memory: int, vcpus: int) -> int:
    """
    Bytes that QEMU takes beside the guest's memory: 96 MiB for the process and its devices, 8 MiB for each virtual
    CPU's thread, and a 512th of the memory for page tables.
    """
    return 96 * _MIB + vcpus * 8 * _MIB + -(-memory // 512 // _MIB) * _MIB
