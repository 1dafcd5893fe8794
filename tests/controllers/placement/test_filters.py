"""The filters: one row a rule, both what they exclude and what they let pass. Pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.controllers.placement.filters import FILTERS
from app.controllers.placement.fleet import Fleet
from app.controllers.placement.need import GuestCpu, Need, Toleration
from app.controllers.placement.nodes import CpuOffer, NodeView, Taint
from app.controllers.placement.pipeline import place
from app.kinds.migration_options import Compression
from tests.controllers.placement.builders import GIB, asks, expression, need, node, requires

SKYLAKE = CpuOffer("kvm", "Skylake", frozenset({"Skylake", "Nehalem"}), frozenset({"avx2", "sse4.2"}))
EPYC = CpuOffer("kvm", "EPYC", frozenset({"EPYC", "Nehalem"}), frozenset({"avx2", "sha-ni"}))
DISK = {"disktype": "ssd", "rank": "5"}
AFFINITY = "node(s) didn't match the required node affinity"

EXCLUDED = {
    "the source": (need(source="a"), node("a"), "node is the source"),
    "what the caller excludes": (need(excluded={"a": "node(s) are full"}), node("a"), "node(s) are full"),
    "not ready": (need(), node("a", ready=False), "node(s) were not ready"),
    "cordoned": (need(), node("a", unschedulable=True), "node(s) were unschedulable"),
    "NoSchedule": (need(), node("a", taints=(Taint("k", "v", "NoSchedule"),)), "node(s) had untolerated taint {k: v}"),
    "NoExecute": (need(), node("a", taints=(Taint("k", "", "NoExecute"),)), "node(s) had untolerated taint {k: }"),
    "its selector": (
        need(node_selector={"disktype": "ssd"}),
        node("a"),
        "node(s) didn't match the node selector disktype=ssd",
    ),
    "the merged selector": (
        need(node_selector={"disktype": "ssd"}, source="b"),
        node("a", labels={"disktype": "hdd"}),
        "node(s) didn't match the merged node selector disktype=ssd",
    ),
    "a way that is closed": (
        need(source="b", origin=node("b", unreachable={"a": "no answer"})),
        node("a"),
        "node(s) can't be reached from the source: no answer",
    ),
    "no certificates": (
        need(encrypted=True, source="b", origin=node("b", certified=True)),
        node("a"),
        "node(s) have no certificates to encrypt the stream with (annotation kubevirt.io/migration-tls)",
    ),
    "no certificates at the source": (
        need(encrypted=True, source="b", origin=node("b")),
        node("a", certified=True),
        "node(s) can't be reached encrypted: the source has no certificates to encrypt the stream with"
        " (annotation kubevirt.io/migration-tls)",
    ),
    "compression beyond it": (
        need(compression=Compression.ZSTD, source="b", origin=node("b", libvirt=(9, 4, 0))),
        node("a", libvirt=(9, 0, 0)),
        "node(s) have libvirt 9.0.0, which can't compress with zstd: 9.4 and newer can",
    ),
    "compression beyond the source": (
        need(compression=Compression.ZLIB, source="b", origin=node("b", libvirt=(9, 0, 0))),
        node("a", libvirt=(9, 4, 0)),
        "node(s) can't be reached: the source has libvirt 9.0.0, which can't compress with zlib: 9.4 and newer can",
    ),
    "CPU": (need(cpu_milli=2000), node("a", cpu_milli=1999), "Insufficient cpu"),
    "memory": (need(memory=2 * GIB), node("a", memory=2 * GIB - 1), "Insufficient memory"),
    "affinity In": (need(affinity=requires(expression("disktype", "In", "nvme"))), node("a", labels=DISK), AFFINITY),
    "affinity NotIn": (
        need(affinity=requires(expression("disktype", "NotIn", "ssd"))),
        node("a", labels=DISK),
        AFFINITY,
    ),
    "affinity Exists": (need(affinity=requires(expression("gpu", "Exists"))), node("a", labels=DISK), AFFINITY),
    "affinity DoesNotExist": (
        need(affinity=requires(expression("rank", "DoesNotExist"))),
        node("a", labels=DISK),
        AFFINITY,
    ),
    "affinity Gt": (need(affinity=requires(expression("rank", "Gt", "5"))), node("a", labels=DISK), AFFINITY),
    "affinity Lt": (need(affinity=requires(expression("rank", "Lt", "5"))), node("a", labels=DISK), AFFINITY),
    "affinity Gt of no number": (
        need(affinity=requires(expression("disktype", "Gt", "5"))),
        node("a", labels=DISK),
        AFFINITY,
    ),
    "affinity by name": (
        need(affinity=requires(fields=[expression("metadata.name", "In", "b")])),
        node("a"),
        AFFINITY,
    ),
    "a term without requirements": (need(affinity=requires()), node("a"), AFFINITY),
    "an empty effect that is not tolerated": (
        need(tolerations=(Toleration("k", "Equal", "x"),)), node("a", taints=(Taint("k", "v", "NoSchedule"),)),
        "node(s) had untolerated taint {k: v}",
    ),
    "one of two taints": (
        need(tolerations=(Toleration("k", "Exists"),)),
        node("a", taints=(Taint("k", "v", "NoSchedule"), Taint("l", "", "NoExecute"))),
        "node(s) had untolerated taint {l: }",
    ),
    "another architecture": (asks(arch="aarch64"), node("a", arch="amd64"), "node(s) are not aarch64"),
    "no KVM": (asks(domain_type="kvm"), node("a", domain_types=frozenset({"qemu"})), "node(s) can't run kvm guests"),
    "an older machine type": (
        asks(machine="pc-q35-9.2"), node("a", machine_types=frozenset({"pc-q35-7.2"})),
        "node(s) don't offer machine type pc-q35-9.2",
    ),
    "a CPU model": (
        asks(domain_type="kvm", cpu=GuestCpu("custom", "EPYC")), node("a", cpus=(SKYLAKE,)),
        "node(s) can't give CPU model EPYC",
    ),
    "a CPU feature": (
        asks(domain_type="kvm", cpu=GuestCpu("custom", "Nehalem", frozenset({"avx512f", "sha-ni", "avx2"}))),
        node("a", cpus=(SKYLAKE,)), "node(s) lack CPU feature(s) avx512f, sha-ni",
    ),
    "another CPU, passed through": (
        asks(node("b", cpus=(EPYC,)), domain_type="kvm", cpu=GuestCpu("host-passthrough")), node("a", cpus=(SKYLAKE,)),
        "node(s) have another CPU than the source's EPYC",
    ),
    "a lesser CPU, passed through": (
        asks(node("b", cpus=(replace(SKYLAKE, features=frozenset({"avx2", "pku"})),)), domain_type="kvm",
             cpu=GuestCpu("host-passthrough")),
        node("a", cpus=(SKYLAKE,)), "node(s) lack CPU feature(s) pku",
    ),
    "an older QEMU": (
        asks(node("b", qemu=(7, 2, 0))), node("a", qemu=(7, 1, 9)), "node(s) have an older QEMU than the source's 7.2.0",
    ),
    "an older libvirt": (
        asks(node("b", libvirt=(10, 0, 0))), node("a", libvirt=(9, 9, 0)),
        "node(s) have an older libvirt than the source's 10.0.0",
    ),
    "a network": (
        asks(networks=frozenset({"blue", "red"})), node("a", networks=frozenset({"red"})),
        "node(s) have no active network blue",
    ),
    "a bridge": (asks(interfaces=frozenset({"br0"})), node("a", interfaces=frozenset()), "node(s) have no bridge br0"),
    "storage": (
        asks(shared_paths=("/srv/a/1.img", "/srv/b/2.img")), node("a", shared_paths=("/srv/a",)),
        "node(s) don't share the guest's disk /srv/b/2.img",
    ),
    "storage of a like name": (
        asks(shared_paths=("/srv/ab/1.img",)), node("a", shared_paths=("/srv/a",)),
        "node(s) don't share the guest's disk /srv/ab/1.img",
    ),
    "huge pages": (
        need(hugepages=((2 << 20, GIB),)), node("a", hugepages=((2 << 20, GIB - 1), (1 << 30, 8 * GIB))),
        "Insufficient hugepages-2Mi",
    ),
    "no huge pages at all": (need(hugepages=((1 << 30, GIB),)), node("a"), "Insufficient hugepages-1Gi"),
}  # fmt: skip


@pytest.mark.parametrize("case", EXCLUDED.values(), ids=EXCLUDED.keys())
def test_a_node_is_excluded_by(case: tuple[Need, NodeView, str]) -> None:
    wanted, only, reason = case

    placement = place(wanted, Fleet.of([only]))

    assert ([], {"a": reason}) == (list(placement.fitting), dict(placement.excluded))


FITTING = {
    "nothing asked": (need(), node("a")),
    "PreferNoSchedule only prefers": (need(), node("a", taints=(Taint("k", "v", "PreferNoSchedule"),))),
    "what every libvirt packs": (
        need(compression=Compression.XBZRLE, source="b", origin=node("b", libvirt=(9, 0, 0))),
        node("a", libvirt=(9, 0, 0)),
    ),
    "compression where both can, or nobody knows": (
        need(compression=Compression.ZSTD, source="b", origin=node("b", libvirt=(9, 4, 0))),
        node("a"),
    ),
    "exactly what is free": (need(memory=8 * GIB, cpu_milli=8000), node("a")),
    "its selector": (need(node_selector={"disktype": "ssd"}), node("a", labels=DISK)),
    "affinity In": (need(affinity=requires(expression("disktype", "In", "nvme", "ssd"))), node("a", labels=DISK)),
    "affinity NotIn of an absent label": (need(affinity=requires(expression("gpu", "NotIn", "x"))), node("a")),
    "affinity Gt": (need(affinity=requires(expression("rank", "Gt", "4"))), node("a", labels=DISK)),
    "affinity Lt": (need(affinity=requires(expression("rank", "Lt", "6"))), node("a", labels=DISK)),
    "affinity Exists": (need(affinity=requires(expression("rank", "Exists"))), node("a", labels=DISK)),
    "affinity DoesNotExist": (need(affinity=requires(expression("gpu", "DoesNotExist"))), node("a", labels=DISK)),
    "affinity by name": (need(affinity=requires(fields=[expression("metadata.name", "In", "a")])), node("a")),
    "the second of two terms": (
        need(
            affinity={
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [expression("gpu", "Exists")]},
                        {"matchExpressions": [expression("rank", "Exists")]},
                    ]
                }
            }
        ),
        node("a", labels=DISK),
    ),
    "a toleration by value": (
        need(tolerations=(Toleration("k", "Equal", "v", "NoSchedule"),)), node("a", taints=(Taint("k", "v", "NoSchedule"),)),
    ),
    "a toleration of everything": (
        need(tolerations=(Toleration("", "Exists"),)), node("a", taints=(Taint("k", "v", "NoExecute"),)),
    ),
    "its architecture in libvirt's word": (asks(arch="x86_64"), node("a", arch="amd64")),
    "what the host has not told": (
        asks(arch="x86_64", domain_type="kvm", machine="q35", cpu=GuestCpu("custom", "EPYC"), networks=frozenset({"x"}),
             interfaces=frozenset({"br0"})),
        node("a"),
    ),
    "its CPU": (
        asks(domain_type="kvm", cpu=GuestCpu("custom", "Nehalem", frozenset({"avx2", "hypervisor", "invtsc"}))),
        node("a", cpus=(SKYLAKE, CpuOffer("qemu"))),
    ),
    "a model that it has without some features": (
        asks(domain_type="kvm", cpu=GuestCpu("custom", "Cascadelake", disabled=frozenset({"hle"}))), node("a", cpus=(SKYLAKE,)),
    ),
    "the same CPU, passed through": (
        asks(node("b", cpus=(SKYLAKE,)), domain_type="kvm", cpu=GuestCpu("host-passthrough")), node("a", cpus=(SKYLAKE,)),
    ),
    "the same QEMU but for its last number": (asks(node("b", qemu=(7, 2, 9))), node("a", qemu=(7, 2, 0))),
    "a later QEMU": (asks(node("b", qemu=(7, 2, 0))), node("a", qemu=(10, 0, 0))),
    "storage": (
        asks(shared_paths=("/srv/a/1.img", "/img")), node("a", shared_paths=("/img", "/srv")),
    ),
    "exactly the huge pages that are free": (need(hugepages=((2 << 20, GIB),)), node("a", hugepages=((2 << 20, GIB),))),
}  # fmt: skip


@pytest.mark.parametrize("case", FITTING.values(), ids=FITTING.keys())
def test_a_node_fits_with(case: tuple[Need, NodeView]) -> None:
    wanted, only = case

    assert list(place(wanted, Fleet.of([only])).fitting) == ["a"]


def test_filters_have_names_of_their_own() -> None:
    assert len({rule.name for rule in FILTERS}) == len(FILTERS)


def test_the_first_rule_that_a_node_does_not_pass_is_its_reason() -> None:
    wanted = need(source="a", memory=99 * GIB)

    placement = place(wanted, Fleet.of([node("a", ready=False), node("b", ready=False), node("c")]))

    assert dict(placement.excluded) == {
        "a": "node is the source",
        "b": "node(s) were not ready",
        "c": "Insufficient memory",
    }
