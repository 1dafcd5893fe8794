"""The filters: each says which nodes are out, and why, in the words of the message. In this order: the first one that a node
does not pass is its reason."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TypeVar

from app.controllers.placement import labels
from app.controllers.placement.fleet import Fleet, Nodes
from app.controllers.placement.need import Need
from app.controllers.placement.nodes import CpuOffer, NodeView, Taint, Version, hugepages_name, prefixes_of
from app.kinds.migration_options import Compression

FacetT = TypeVar("FacetT", bound=Hashable)
Out = tuple[str, Nodes]
"""A reason, and the nodes that it excludes."""

_REPELLING = ("NoSchedule", "NoExecute")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
_NOT_THE_HOSTS = frozenset({"hypervisor", "invtsc"})
"""Features that no host's list decides: a guest always has the first, and the second goes by the clock's frequency."""
_NO_CERTIFICATES = "no certificates to encrypt the stream with (annotation kubevirt.io/migration-tls)"
_PACKED_LATELY = (Compression.ZLIB, Compression.ZSTD)
PACKED_SINCE: Version = (9, 4)
"""libvirt's, for these."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A rule with a name."""

    name: str
    out: Callable[[Need, Fleet], Iterable[Out]]


def is_source(need: Need, fleet: Fleet) -> Iterator[Out]:
    if need.source is not None:
        yield "node is the source", fleet.index.one(need.source)


def is_excluded(need: Need, fleet: Fleet) -> Iterator[Out]:
    """What was learned elsewhere: that the host itself said no."""
    for name, reason in need.excluded.items():
        yield reason, fleet.index.one(name)


def is_not_reached(need: Need, fleet: Fleet) -> Iterator[Out]:
    """By the source's libvirt, as it was asked last. Hosts of one problem are one group of them."""
    for name, problem in (need.origin.unreachable if need.origin is not None else {}).items():
        yield not_reached(problem), fleet.index.one(name)


def not_reached(problem: str) -> str:
    """Also of a node whose host was asked just before it was used."""
    return f"node(s) can't be reached from the source: {problem}"


def is_not_ready(_need: Need, fleet: Fleet) -> Iterator[Out]:
    yield "node(s) were not ready", fleet.index.groups(_ready).get(False, 0)


def is_unschedulable(_need: Need, fleet: Fleet) -> Iterator[Out]:
    yield "node(s) were unschedulable", fleet.index.groups(_unschedulable).get(True, 0)


def repels(need: Need, fleet: Fleet) -> Iterator[Out]:
    for taints, nodes in fleet.index.groups(_taints).items():
        taint = next((t for t in taints if t.effect in _REPELLING and not need.tolerates(t)), None)
        if taint is not None:
            yield f"node(s) had untolerated taint {taint}", nodes


def is_not_selected(need: Need, fleet: Fleet) -> Iterator[Out]:
    if need.node_selector:
        shown = ",".join(f"{key}={value}" for key, value in sorted(need.node_selector.items()))
        words = f"{'merged ' if need.source is not None else ''}node selector {shown}"
        chosen = labels.selected(need.node_selector, fleet.index)
        yield f"node(s) didn't match the {words}", fleet.index.everyone ^ chosen


def is_not_affine(need: Need, fleet: Fleet) -> Iterator[Out]:
    if labels.REQUIRED in need.affinity:
        chosen = labels.required(need.affinity, fleet.index)
        yield "node(s) didn't match the required node affinity", fleet.index.everyone ^ chosen


def lacks_architecture(need: Need, fleet: Fleet) -> Iterator[Out]:
    wanted = need.host.arch
    return _by(fleet, _arch, wanted, lambda has: "" if _same_architecture(wanted, has) else f"node(s) are not {wanted}")


def lacks_domain_type(need: Need, fleet: Fleet) -> Iterator[Out]:
    wanted = need.host.domain_type
    return _by(fleet, _domain_types, wanted, lambda has: _lacks(has, wanted, f"can't run {wanted} guests"))


def lacks_machine_type(need: Need, fleet: Fleet) -> Iterator[Out]:
    wanted = need.host.machine
    return _by(fleet, _machine_types, wanted, lambda has: _lacks(has, wanted, f"don't offer machine type {wanted}"))


def lacks_cpu_model(need: Need, fleet: Fleet) -> Iterator[Out]:
    """By the host's own lists; libvirt's comparison has the last word, on the node that is chosen."""
    return _by(fleet, _cpus, need.host.cpu.mode, lambda offers: _cpu_problem(need, offers))


def has_older_versions(need: Need, fleet: Fleet) -> Iterator[Out]:
    """QEMU keeps a guest's state readable for the same and later versions only; libvirt's newer major versions write what
    older ones refuse."""
    return _by(fleet, _versions, need.origin, lambda has: _version_problem(need.origin, has))


def lacks_network(need: Need, fleet: Fleet) -> Iterator[Out]:
    return _by(fleet, _networks, need.host.networks, lambda has: _missing(has, need.host.networks, "active network"))


def lacks_interface(need: Need, fleet: Fleet) -> Iterator[Out]:
    return _by(fleet, _interfaces, need.host.interfaces, lambda has: _missing(has, need.host.interfaces, "bridge"))


def does_not_share_storage(need: Need, fleet: Fleet) -> Iterator[Out]:
    holders = fleet.index.holders(_shared_paths)
    for path in need.host.shared_paths:
        sharing = reduce(or_, (holders.get(prefix, 0) for prefix in prefixes_of(path)), 0)
        yield f"node(s) don't share the guest's disk {path}", fleet.index.everyone ^ sharing


def lacks_certificates(need: Need, fleet: Fleet) -> Iterator[Out]:
    if need.encrypted and need.origin is not None and not need.origin.certified:
        yield f"node(s) can't be reached encrypted: the source has {_NO_CERTIFICATES}", fleet.index.everyone
    elif need.encrypted:
        yield f"node(s) have {_NO_CERTIFICATES}", fleet.index.groups(_certified).get(False, 0)


def cannot_compress(need: Need, fleet: Fleet) -> Iterator[Out]:
    """Both hosts have to: the driver asks the source's libvirt again."""
    if need.compression not in _PACKED_LATELY or need.origin is None:
        return
    words = f"libvirt {{}}, which can't compress with {need.compression}: {_dotted(PACKED_SINCE)} and newer can"
    if _is_older(need.origin.libvirt):
        reason = words.format(_dotted(need.origin.libvirt))
        yield f"node(s) can't be reached: the source has {reason}", fleet.index.everyone
    for (_, libvirt), nodes in fleet.index.groups(_versions).items():
        if _is_older(libvirt):
            yield f"node(s) have {words.format(_dotted(libvirt))}", nodes


def _is_older(libvirt: Version) -> bool:
    """One that is not known is not held against the node."""
    return bool(libvirt) and libvirt < PACKED_SINCE


def is_short_of_cpu(need: Need, fleet: Fleet) -> Iterator[Out]:
    yield "Insufficient cpu", fleet.cpu_milli.below(need.cpu_milli)


def is_short_of_memory(need: Need, fleet: Fleet) -> Iterator[Out]:
    yield "Insufficient memory", fleet.memory.below(need.memory)


def is_short_of_hugepages(need: Need, fleet: Fleet) -> Iterator[Out]:
    for size, amount in need.hugepages:
        yield f"Insufficient {hugepages_name(size)}", fleet.short_of_hugepages(size, amount)


FILTERS = (
    Filter("Source", is_source),
    Filter("HostsOwnWord", is_excluded),
    Filter("Ready", is_not_ready),
    Filter("PeersReachable", is_not_reached),
    Filter("Unschedulable", is_unschedulable),
    Filter("Taints", repels),
    Filter("NodeSelector", is_not_selected),
    Filter("NodeAffinity", is_not_affine),
    Filter("Architecture", lacks_architecture),
    Filter("DomainType", lacks_domain_type),
    Filter("MachineType", lacks_machine_type),
    Filter("CpuModel", lacks_cpu_model),
    Filter("Versions", has_older_versions),
    Filter("Networks", lacks_network),
    Filter("Interfaces", lacks_interface),
    Filter("Storage", does_not_share_storage),
    Filter("Certificates", lacks_certificates),
    Filter("Compression", cannot_compress),
    Filter("Cpu", is_short_of_cpu),
    Filter("Memory", is_short_of_memory),
    Filter("HugePages", is_short_of_hugepages),
)


# What of a node a filter goes by. Named functions: an index remembers its groups by them.


def _ready(node: NodeView) -> bool:
    return node.ready


def _unschedulable(node: NodeView) -> bool:
    return node.unschedulable


def _taints(node: NodeView) -> tuple[Taint, ...]:
    return node.taints


def _arch(node: NodeView) -> str:
    return node.arch


def _domain_types(node: NodeView) -> frozenset[str] | None:
    return node.domain_types


def _machine_types(node: NodeView) -> frozenset[str] | None:
    return node.machine_types


def _cpus(node: NodeView) -> tuple[CpuOffer, ...]:
    return node.cpus


def _versions(node: NodeView) -> tuple[Version, Version]:
    return node.qemu, node.libvirt


def _networks(node: NodeView) -> frozenset[str] | None:
    return node.networks


def _interfaces(node: NodeView) -> frozenset[str] | None:
    return node.interfaces


def _shared_paths(node: NodeView) -> tuple[str, ...]:
    return node.shared_paths


def _certified(node: NodeView) -> bool:
    return node.certified


# Verdicts on what a node offers: the reason, or nothing.


def _by(
    fleet: Fleet, facet: Callable[[NodeView], FacetT], wanted: object, problem: Callable[[FacetT], str]
) -> Iterator[Out]:
    """Each distinct offer is judged once; nothing wanted excludes nobody."""
    if wanted:
        for offer, nodes in fleet.index.groups(facet).items():
            if reason := problem(offer):
                yield reason, nodes


def _same_architecture(wanted: str, has: str) -> bool:
    return not has or has == _ARCHITECTURES.get(wanted, wanted)


def _lacks(has: frozenset[str] | None, wanted: str, words: str) -> str:
    return "" if has is None or wanted in has else f"node(s) {words}"


def _missing(has: frozenset[str] | None, wanted: frozenset[str], what: str) -> str:
    missing = sorted(wanted - has) if has is not None else []
    return f"node(s) have no {what} {', '.join(missing)}" if missing else ""


def _cpu_problem(need: Need, offers: tuple[CpuOffer, ...]) -> str:
    cpu = need.host.cpu
    offer = next((one for one in offers if one.domain_type == need.host.domain_type), None)
    if offer is None:
        return ""
    if cpu.mode == "custom":
        # Without the features that the guest does not have, a host may give a model that it cannot give whole.
        if offer.models and not cpu.disabled and cpu.model not in offer.models:
            return f"node(s) can't give CPU model {cpu.model}"
        return _feature_problem(cpu.features, offer.features)
    origin = need.origin.cpu_offer(need.host.domain_type) if need.origin is not None else None
    if origin is None:
        return ""
    if offer.model != origin.model:
        return f"node(s) have another CPU than the source's {origin.model}"
    return _feature_problem(origin.features, offer.features)


def _feature_problem(wanted: frozenset[str], has: frozenset[str]) -> str:
    missing = sorted(wanted - has - _NOT_THE_HOSTS) if has else []
    return f"node(s) lack CPU feature(s) {', '.join(missing)}" if missing else ""


def _version_problem(origin: NodeView | None, has: tuple[Version, Version]) -> str:
    qemu, libvirt = has
    if origin is None:
        return ""
    if qemu and origin.qemu and qemu[:2] < origin.qemu[:2]:
        return f"node(s) have an older QEMU than the source's {_dotted(origin.qemu)}"
    if libvirt and origin.libvirt and libvirt[:1] < origin.libvirt[:1]:
        return f"node(s) have an older libvirt than the source's {_dotted(origin.libvirt)}"
    return ""


def _dotted(version: Version) -> str:
    return ".".join(str(part) for part in version)
