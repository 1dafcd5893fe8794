"""What a node offers, read once from each version of its document."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from app.kinds import names, quantity
from app.kinds.node import DEFAULT_WORKERS, takes_no_guests
from app.machinery.objects import Document

Version = tuple[int, ...]
"""7.2.0 as (7, 2, 0); empty where it is not known."""

_HUGEPAGES = "hugepages-"


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        """As kube-scheduler prints one: {key: value}."""
        return f"{{{self.key}: {self.value}}}"


@dataclass(frozen=True, slots=True)
class CpuOffer:
    """The CPUs that a host can give to guests of one type."""

    domain_type: str
    model: str = ""
    """The named model nearest to the host's own."""
    models: frozenset[str] = frozenset()
    """Every named model that it can give."""
    features: frozenset[str] = frozenset()
    """Every feature that it can give."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """What placement knows of a node. Memory in bytes, CPU in thousandths. What is None or empty is not known, and then
    excludes nothing: the host itself is asked before it is used."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ready: bool = True
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    memory: int = 0
    """Allocatable."""
    cpu_milli: int = 0
    """Allocatable."""
    hugepages: tuple[tuple[int, int], ...] = ()
    """(Size of a page, allocatable bytes in such pages)."""
    arch: str = ""
    """As Kubernetes names it: amd64."""
    domain_types: frozenset[str] | None = None
    machine_types: frozenset[str] | None = None
    cpus: tuple[CpuOffer, ...] = ()
    networks: frozenset[str] | None = None
    interfaces: frozenset[str] | None = None
    shared_paths: tuple[str, ...] = ()
    unreachable: Mapping[str, str] = field(default_factory=dict)
    """Nodes that its host's libvirt does not reach, and why."""
    certified: bool = False
    """Its QEMUs have certificates for migrations, its Node says."""
    qemu: Version = ()
    libvirt: Version = ()
    workers: int = DEFAULT_WORKERS
    """Of its libvirtd: each migration holds one of them on either host."""

    def cpu_offer(self, domain_type: str) -> CpuOffer | None:
        return next((offer for offer in self.cpus if offer.domain_type == domain_type), None)


def node_view(node: Document) -> NodeView:
    """The view of a stored Node."""
    metadata, spec, status = node.get("metadata") or {}, node.get("spec") or {}, node.get("status") or {}
    allocatable, info = status.get("allocatable") or {}, status.get("nodeInfo") or {}
    hypervisor = status.get("hypervisor") or {}
    annotations = metadata.get("annotations") or {}
    name = str(metadata["name"])
    return NodeView(
        name=name,
        labels={names.HOSTNAME: name, **(metadata.get("labels") or {})},
        ready=is_ready(node) and not metadata.get("deletionTimestamp"),
        unschedulable=takes_no_guests(node),
        taints=tuple(
            Taint(taint.get("key", ""), taint.get("value") or "", taint.get("effect", ""))
            for taint in spec.get("taints") or ()
        ),
        memory=quantity.whole(allocatable.get("memory", "0")),
        cpu_milli=quantity.milli(allocatable.get("cpu", "0")),
        hugepages=hugepages_of(allocatable),
        arch=info.get("architecture") or "",
        domain_types=_set(hypervisor.get("domainTypes")),
        machine_types=_set(hypervisor.get("machineTypes")),
        cpus=tuple(
            CpuOffer(
                cpu["domainType"],
                cpu.get("model") or "",
                frozenset(cpu.get("models") or ()),
                frozenset(cpu.get("features") or ()),
            )
            for cpu in hypervisor.get("cpus") or ()
        ),
        networks=_set(hypervisor.get("networks")),
        interfaces=_set(hypervisor.get("interfaces")),
        shared_paths=shared_paths(annotations),
        unreachable={peer["name"]: peer["message"] for peer in status.get("unreachablePeers") or ()},
        certified=has_certificates(annotations),
        qemu=version(str(info.get("containerRuntimeVersion") or "").partition("://")[2]),
        libvirt=version(str(info.get("kubeletVersion") or "")),
        workers=workers_of(annotations),
    )


def is_ready(node: Document) -> bool:
    """Whether the node's condition Ready is True."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def hugepages_of(quantities: Mapping[str, str]) -> tuple[tuple[int, int], ...]:
    """`hugepages-2Mi: 4Gi` as (size, bytes), smallest first."""
    return tuple(
        sorted(
            (quantity.whole(name.removeprefix(_HUGEPAGES)), quantity.whole(amount))
            for name, amount in quantities.items()
            if name.startswith(_HUGEPAGES)
        )
    )


def hugepages_name(size: int) -> str:
    """Kubernetes' name of the resource: `hugepages-2Mi`."""
    return f"{_HUGEPAGES}{quantity.binary(size)}"


def shared_paths(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """The prefixes that a Node's annotation declares."""
    declared = (part.strip() for part in annotations.get(names.SHARED_PATHS, "").split(","))
    return tuple(
        sorted({posixpath.normpath(f"/{prefix.lstrip('/')}") for prefix in declared if prefix.startswith("/")})
    )


def peer_uri(node: Document) -> str:
    """A Node's libvirt URI as the other hosts reach it."""
    annotations = node["metadata"].get("annotations") or {}
    return str(annotations.get(names.PEER_URI) or (node.get("spec") or {}).get("providerID") or "")


def credentials_of(node: Document) -> str:
    """The set of certificates and keys by which Drover reaches it; empty where it names none."""
    return str((node["metadata"].get("annotations") or {}).get(names.CREDENTIALS) or "")


def has_certificates(annotations: Mapping[str, str]) -> bool:
    """Whether a Node declares that its QEMUs can encrypt a migration's stream."""
    return annotations.get(names.MIGRATION_TLS, "false") != "false"


def is_below(path: str, prefixes: Collection[str]) -> bool:
    """Whether one of those declared prefixes leads to that path."""
    return any(prefix in prefixes for prefix in prefixes_of(path))


def prefixes_of(path: str) -> Iterator[str]:
    """The path and every folder above it."""
    yield path
    while path != "/" and (path := posixpath.dirname(path)):
        yield path


def workers_of(annotations: Mapping[str, str]) -> int:
    """How many worker threads the host's libvirtd has."""
    told = annotations.get(names.LIBVIRTD_WORKERS, "")
    return int(told) if told.isascii() and told.isdigit() else DEFAULT_WORKERS


def version(text: str) -> Version:
    """(7, 2, 0); empty for what is no version."""
    parts = text.split(".")
    return tuple(int(part) for part in parts) if all(part.isascii() and part.isdigit() for part in parts) else ()


def _set(listed: list[str] | None) -> frozenset[str] | None:
    return None if listed is None else frozenset(listed)
