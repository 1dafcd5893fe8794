"""The pods that Drover makes: a VirtualMachine's launcher pod, a migration's target pod, and its migration pod."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.controllers.birth import Birth
from app.controllers.placement.need import Need, Toleration, overhead
from app.controllers.placement.nodes import hugepages_name
from app.kinds import POD, names, quantity
from app.kinds.pod import Phase
from app.machinery.objects import Document

LAUNCHER_CONTAINER = "compute"
MIGRATION_CONTAINER = "migration"

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_USUAL_HUGEPAGE = 2 << 20
_FINISHED = (Phase.SUCCEEDED, Phase.FAILED)


def process_ended_at(pod: Document) -> datetime | None:
    """When the process of a migration's pod ended; None of another pod, or while it runs."""
    if (pod["metadata"].get("labels") or {}).get("kubevirt.io") != "migration":
        return None
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        if stamp := ((container.get("state") or {}).get("terminated") or {}).get("finishedAt"):
            return datetime.fromisoformat(stamp)
    return None


def guest_need(memory: int, vcpus: int, vm: Document, *, hugepages: Sequence[int] = (), **more: Any) -> Need:
    """What a guest of that many bytes and virtual CPUs asks of a node, with the VM's own selector and affinity. Of memory
    in huge pages the first size counts; 0 stands for the usual one."""
    spec, besides = vm["spec"], overhead(memory, vcpus)
    return Need(
        **{
            "memory": besides if hugepages else memory + besides,
            "cpu_milli": vcpus * 1000,
            "hugepages": ((hugepages[0] or _USUAL_HUGEPAGE, memory),) if hugepages else (),
            "node_selector": spec.get("nodeSelector") or {},
            "affinity": node_affinity(vm),
            "tolerations": tolerations(vm),
            **more,
        }
    )


def tolerations(vm: Document) -> tuple[Toleration, ...]:
    """A VM's own."""
    return tuple(
        Toleration(one.get("key", ""), one.get("operator", "Equal"), one.get("value", ""), one.get("effect") or "")
        for one in vm["spec"].get("tolerations") or ()
    )


def node_affinity(vm: Document) -> Document:
    """A VM's (or pod's) own nodeAffinity, {} if it has none."""
    affinity: Document = (vm["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    return affinity


def launcher_pod(birth: Birth, vm: Document, node: str, need: Need) -> Document:
    """The pod of a VM, bound to that node: it reserves what the guest needs there until it is finished or deleted."""
    return _launcher(birth, vm, node, need, {}, need.affinity)


def launcher_names(vm: str) -> str:
    """How the names of that VM's launcher and target pods begin."""
    return f"{names.APP_LAUNCHER}-{vm}-"


def target_pod(birth: Birth, vm: Document, migration: Document, node: str, need: Need) -> Document:
    """A launcher pod on the node that the guest moves to. `need` has the merged selector, the VM's affinity and the source."""
    labels = migration_labels(migration)
    affinity = away_from(need.affinity, need.source) if need.source is not None else need.affinity
    return _launcher(birth, vm, node, need, labels, affinity)


def migration_pod(birth: Birth, vm: Document, migration: Document) -> Document:
    """The pod whose process runs one attempt. It has no node: the process runs where a worker claims it."""
    return birth.document(
        POD,
        migration["metadata"]["namespace"],
        f"virt-migration-{birth.suffix()}",
        labels={names.APP: names.APP_MIGRATION, names.DOMAIN: vm["metadata"]["name"], **migration_labels(migration)},
        owner=migration,
        spec={"containers": [{"name": MIGRATION_CONTAINER}], "restartPolicy": "Never"},
        status={"phase": Phase.PENDING.value},
    )


def migration_labels(migration: Document) -> dict[str, str]:
    """By which a migration's pods are found."""
    return {names.MIGRATION_NAME: migration["metadata"]["name"], names.MIGRATION_UID: migration["metadata"]["uid"]}


def away_from(affinity: Document, source: str) -> Document:
    """The node affinity with `hostname NotIn [source]` appended to every required term; a term is made when there is none."""
    away = copy.deepcopy(affinity)
    terms = away.setdefault(_REQUIRED, {}).setdefault("nodeSelectorTerms", []) or [{}]
    for term in terms:
        expression = {"key": names.HOSTNAME, "operator": "NotIn", "values": [source]}
        term["matchExpressions"] = [*(term.get("matchExpressions") or []), expression]
    away[_REQUIRED]["nodeSelectorTerms"] = terms
    return away


def is_launcher_of(pod: Document, vm_uid: str) -> bool:
    """Whether it is a launcher or target pod of that VM."""
    labels = pod["metadata"].get("labels") or {}
    return labels.get(names.APP) == names.APP_LAUNCHER and labels.get(names.VM_UID) == vm_uid


def is_target(pod: Document) -> bool:
    """Whether an attempt of a Migration reserved its target with it; also after the guest has arrived."""
    labels = pod["metadata"].get("labels") or {}
    return labels.get(names.APP) == names.APP_LAUNCHER and names.MIGRATION_UID in labels


def is_target_of(pod: Document, migration: Document) -> bool:
    """Whether it was an attempt of that Migration."""
    return is_target(pod) and bool(pod["metadata"]["labels"][names.MIGRATION_UID] == migration["metadata"]["uid"])


def is_finished(pod: Document) -> bool:
    return (pod.get("status") or {}).get("phase") in _FINISHED


def is_leaving(document: Document) -> bool:
    """Its deletion has begun."""
    return bool(document["metadata"].get("deletionTimestamp"))


def _launcher(
    birth: Birth, vm: Document, node: str, need: Need, labels: dict[str, str], affinity: Document
) -> Document:
    metadata = vm["metadata"]
    requests = {"memory": quantity.binary(need.memory), "cpu": quantity.millis(need.cpu_milli)}
    requests |= {hugepages_name(size): quantity.binary(amount) for size, amount in need.hugepages}
    spec: Document = {
        "containers": [{"name": LAUNCHER_CONTAINER, "resources": {"requests": requests}}],
        "nodeName": node,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": vm["spec"].get("terminationGracePeriodSeconds", 30),
    }
    if need.node_selector:
        spec["nodeSelector"] = dict(need.node_selector)
    if affinity:
        spec["affinity"] = {"nodeAffinity": copy.deepcopy(affinity)}
    return birth.document(
        POD,
        metadata["namespace"],
        launcher_names(metadata["name"]) + birth.suffix(),
        labels={names.APP: names.APP_LAUNCHER, names.DOMAIN: metadata["name"], names.VM_UID: metadata["uid"], **labels},
        owner=vm,
        spec=spec,
        status={"phase": Phase.PENDING.value},
    )
