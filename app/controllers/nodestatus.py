"""What a Node says of its host: labels, capacity, conditions. Facts in, a new document out. Pure."""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from app.controllers.placement.nodes import hugepages_name
from app.hypervisor.base import Certificate, Host
from app.kinds import names, quantity
from app.kinds.node import (
    AddressType,
    ConditionType,
    NodeCondition,
    NodeGuestCpus,
    NodeHypervisor,
    NodeStatus,
    NodeSystemInfo,
    Reason,
)
from app.machinery.objects import Document, Wire, with_condition

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
NAMED = 5
"""How many guests, or peers, are named in a condition; the others are counted."""
LISTED = 100
"""How many unreachable peers are listed for placement; the hosts' own word, asked before they are used, covers the others."""
EXPIRES_SOON = timedelta(days=30)
REPORTED_AGAIN = timedelta(minutes=5)
"""How old a heartbeat becomes before it is told alone: a kubelet's own period. 5,000 hosts cost 17 writes a second so."""
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_TOLD_BY_HOST = (names.CPU_MODEL_PREFIX, names.MACHINE_TYPE_PREFIX)


def described(node: Document, host: Host, cpu_ratio: float) -> Document:
    """The Node with what its host is and offers; its conditions as they were."""
    changed = copy.deepcopy(node)
    changed["metadata"]["labels"] = _labels(node, host)
    status = changed.setdefault("status", {})
    status["capacity"] = {"cpu": str(host.cpus), "memory": quantity.binary(host.memory), **_hugepages(host)}
    status["allocatable"] = _allocatable(node, host, cpu_ratio)
    status["addresses"] = _addresses(node)
    status["nodeInfo"] = _system(host).dump()
    # Empty lists stay: no network is something else than not knowing which.
    status["hypervisor"] = Wire.dump(_hypervisor(host))
    return changed


def with_ready(node: Document, status: str, reason: Reason, message: str, now: str) -> Document:
    """With the condition Ready; its transition time moves when its status does."""
    return with_observed(node, ConditionType.READY, status, reason, message, now)


def with_observed(
    node: Document, type_: ConditionType, status: str, reason: Reason, message: str, now: str
) -> Document:
    """With that condition; its transition time moves when its status does. What is unknown nobody has seen: the heartbeat
    stays the last one, as under Kubernetes' own node controller."""
    changed = copy.deepcopy(node)
    conditions = NodeStatus.read(changed.get("status") or {}).conditions
    seen = now if status != "Unknown" else _last_seen(node, conditions, type_)
    new = NodeCondition(type=type_, status=status, reason=reason, message=message, last_heartbeat_time=seen)
    told = with_condition(conditions, new, now)
    changed.setdefault("status", {})["conditions"] = [condition.dump() for condition in told]
    return changed


def _last_seen(node: Document, conditions: Sequence[NodeCondition], type_: ConditionType) -> str | None:
    """Of a Node that was never seen, when it was made."""
    beats = [condition.last_heartbeat_time for condition in conditions if condition.type is type_]
    return next((beat for beat in beats if beat), None) or node["metadata"].get("creationTimestamp")


def is_news(before: Document, after: Document) -> bool:
    """Whether an observation has to be written: something but heartbeats changed, or the told one of a condition is old."""
    if _without_heartbeats(before) != _without_heartbeats(after):
        return True
    told, seen = _heartbeats(before), _heartbeats(after)
    return any(_is_old(told.get(type_), beat) for type_, beat in seen.items())


def _is_old(told: str | None, seen: str | None) -> bool:
    if not told or not seen:
        return told != seen
    return datetime.fromisoformat(seen) - datetime.fromisoformat(told) >= REPORTED_AGAIN


def _heartbeats(node: Document) -> dict[str, str | None]:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return {condition["type"]: condition.get("lastHeartbeatTime") for condition in conditions}


def _without_heartbeats(node: Document) -> Document:
    status = node.get("status") or {}
    bare = [{**condition, "lastHeartbeatTime": None} for condition in status.get("conditions") or ()]
    return {**node, "status": {**status, "conditions": bare}}


def without_condition(node: Document, type_: ConditionType) -> Document:
    """The same document where it has none of that type."""
    conditions = (node.get("status") or {}).get("conditions") or []
    left = [condition for condition in conditions if condition.get("type") != type_]
    return node if len(left) == len(conditions) else {**node, "status": {**node["status"], "conditions": left}}


def turned_ready(before: Document, after: Document) -> NodeCondition | None:
    """The condition Ready, if it has turned between the two."""
    had, has = (_ready(node) for node in (before, after))
    return has if has is not None and (had is None or had.status != has.status) else None


def _ready(node: Document) -> NodeCondition | None:
    conditions = NodeStatus.read(node.get("status") or {}).conditions
    return next((condition for condition in conditions if condition.type is ConditionType.READY), None)


def with_foreign_guests(node: Document, guests: Sequence[str], now: str) -> Document:
    """With the condition ForeignGuests while there are any; it goes with the last of them."""
    if not guests:
        return without_condition(node, ConditionType.FOREIGN_GUESTS)
    return with_observed(node, ConditionType.FOREIGN_GUESTS, "True", Reason.NOT_ADOPTED, _some(guests), now)


def with_peers(node: Document, unreachable: Mapping[str, str], asked: int, now: str) -> Document:
    """With the condition PeersReachable, and the peers that placement leaves out; without both while none was asked."""
    changed = without_condition(copy.deepcopy(node), ConditionType.PEERS_REACHABLE) if not asked else node
    if asked and not unreachable:
        told = f"{asked} other node(s) were asked for and reached"
        changed = with_observed(node, ConditionType.PEERS_REACHABLE, "True", Reason.ALL_REACHED, told, now)
    elif asked:
        told = _some([f"{name}: {text}" for name, text in unreachable.items()])
        changed = with_observed(node, ConditionType.PEERS_REACHABLE, "False", Reason.NOT_REACHED, told, now)
    listed = [{"name": name, "message": text} for name, text in unreachable.items()][:LISTED]
    status = {key: value for key, value in (changed.get("status") or {}).items() if key != "unreachablePeers"}
    return {**changed, "status": {**status, "unreachablePeers": listed} if listed else status}


def with_certificates(node: Document, certificates: Sequence[Certificate], at: datetime, now: str) -> Document:
    """With the condition CertificatesExpiring, where there are any. While nothing is to be done the message has dates
    alone, so that the Node does not change every day."""
    type_ = ConditionType.CERTIFICATES_EXPIRING
    if not certificates:
        return without_condition(node, type_)
    first = min(certificate.not_after for certificate in certificates)
    told = "; ".join(
        f"the {one.holder} certificate {'expired' if one.not_after <= at else 'expires'} on {one.not_after:%Y-%m-%d}"
        for one in sorted(certificates, key=lambda one: one.holder)
    )
    if first > at + EXPIRES_SOON:
        return with_observed(node, type_, "False", Reason.NOT_YET, told, now)
    days = max(0, (first - at).days)
    reason = Reason.SOON if first > at else Reason.EXPIRED
    return with_observed(node, type_, "True", reason, f"{days} day(s) left: {told}", now)


def _some(texts: Sequence[str]) -> str:
    return "; ".join(texts[:NAMED]) + (f"; and {len(texts) - NAMED} more" if len(texts) > NAMED else "")


def is_out_of_service(node: Document) -> bool:
    """The operator says that the host is off, and cannot come back by itself. Believed only while it does not answer."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return any(taint.get("key") == names.OUT_OF_SERVICE and taint.get("effect") == "NoExecute" for taint in taints)


def host_uuid(node: Document) -> str:
    """libvirt's UUID of the host, as the Node last said; "" before it did."""
    return str(((node.get("status") or {}).get("nodeInfo") or {}).get("systemUUID") or "")


def earlier_twin(node: Document, uuid: str, nodes: list[Document]) -> str | None:
    """The name of another Node, registered before this one, that is the same libvirt host."""
    mine = _seniority(node)
    twins = [other for other in nodes if host_uuid(other) == uuid and _seniority(other) < mine]
    return str(min(twins, key=_seniority)["metadata"]["name"]) if twins else None


def _seniority(node: Document) -> tuple[str, str]:
    return node["metadata"].get("creationTimestamp", ""), node["metadata"]["name"]


def _labels(node: Document, host: Host) -> dict[str, str]:
    own = node["metadata"].get("labels") or {}
    kept = {key: value for key, value in own.items() if not key.startswith(_TOLD_BY_HOST)}
    told = {
        names.HOSTNAME: node["metadata"]["name"],
        names.OS: "linux",
        names.ARCH: _ARCHITECTURES.get(host.arch, host.arch),
    }
    models = [host.cpu_model] if host.cpu_model else []
    features = {
        prefix + name: "true"
        for prefix, listed in ((names.CPU_MODEL_PREFIX, models), (names.MACHINE_TYPE_PREFIX, host.machine_types))
        for name in listed
        if _NAME.fullmatch(name)
    }
    return {**kept, **told, **features}


def _allocatable(node: Document, host: Host, cpu_ratio: float) -> dict[str, str]:
    annotations = node["metadata"].get("annotations") or {}
    cpu_milli = int(host.cpus * cpu_ratio * 1000)
    memory = host.memory - sum(amount for _, amount in host.hugepages)
    if names.ALLOCATABLE_CPU in annotations:
        cpu_milli = min(cpu_milli, quantity.milli(annotations[names.ALLOCATABLE_CPU]))
    if names.ALLOCATABLE_MEMORY in annotations:
        memory = min(memory, quantity.whole(annotations[names.ALLOCATABLE_MEMORY]))
    return {"cpu": quantity.millis(cpu_milli), "memory": quantity.binary(max(0, memory)), **_hugepages(host)}


def _hugepages(host: Host) -> dict[str, str]:
    return {hugepages_name(size): quantity.binary(amount) for size, amount in host.hugepages}


def _hypervisor(host: Host) -> NodeHypervisor:
    return NodeHypervisor(
        domain_types=list(host.domain_types),
        machine_types=list(host.machine_types),
        cpus=[
            NodeGuestCpus(
                domain_type=cpus.domain_type,
                model=cpus.model,
                models=list(cpus.models),
                features=list(cpus.features),
            )
            for cpus in host.guest_cpus
        ],
        networks=None if host.networks is None else list(host.networks),
        interfaces=None if host.interfaces is None else list(host.interfaces),
    )


def _addresses(node: Document) -> list[Document]:
    """The Node's name, and the address that its URI names."""
    addresses = [{"type": AddressType.HOSTNAME.value, "address": node["metadata"]["name"]}]
    named = urlsplit((node.get("spec") or {}).get("providerID") or "").hostname
    if named:
        type_ = AddressType.INTERNAL_IP if _is_address(named) else AddressType.INTERNAL_DNS
        addresses.append({"type": type_.value, "address": named})
    return addresses


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _system(host: Host) -> NodeSystemInfo:
    return NodeSystemInfo(
        machine_id=str(host.uuid),
        system_uuid=str(host.uuid),
        kernel_version=host.kernel,
        os_image=host.os_image,
        container_runtime_version=f"qemu://{host.hypervisor_version}",
        kubelet_version=host.libvirt_version,
        operating_system="linux",
        architecture=_ARCHITECTURES.get(host.arch, host.arch),
    )
