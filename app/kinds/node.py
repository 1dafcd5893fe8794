"""Node: a libvirt host. Stored as core v1, and served under kubevirt.io too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field

from app.kinds import names, quantity
from app.kinds.node_values import amount_problems, name_networks, network_problems
from app.kinds.shape import ATOMIC, SET, DescribedCondition, Int32, MaybeTime, Shape, Time, map_by
from app.machinery.errors import FieldError, duplicate, forbidden, invalid, required, unsupported
from app.machinery.kind import AGE, CORE, KUBEVIRT, Column, Kind
from app.machinery.names import dns_label, label_value, qualified_name
from app.machinery.objects import Document


class TaintEffect(StrEnum):
    """What a taint keeps away."""

    NO_SCHEDULE = "NoSchedule"
    """No further guests."""
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    """No further guests while another node fits."""
    NO_EXECUTE = "NoExecute"
    """No further guests, and those that are here should go."""


class ConditionType(StrEnum):
    """What conditions of a Node observe."""

    READY = "Ready"
    """Whether the host answers; Unknown when nobody has asked it for a while. Only Ready nodes get guests."""
    FOREIGN_GUESTS = "ForeignGuests"
    """True while guests run on the host that no VirtualMachine stands for, or libvirt keeps one there that has no process; the
    message names up to five and says why."""
    PEERS_REACHABLE = "PeersReachable"
    """Whether the host's libvirt reaches those of the other Nodes that are Ready, with the certificates or keys that it has for
    that; False names up to five that it does not, with libvirt's words. No guest moves there from here."""
    CERTIFICATES_EXPIRING = "CertificatesExpiring"
    """Of a host that is reached by qemu+tls: True from 30 days before the certificate shown to it, or its own, is over."""
    DRAINED = "Drained"
    """Of a Node with the annotation `kubevirt.io/drain=true`: True once no guest is left there; False says how many are, and
    which of them cannot be moved and why."""


class Reason(StrEnum):
    """Why a condition of a Node is as it is."""

    HOST_READY = "HostReady"
    """libvirt answers."""
    HOST_UNREACHABLE = "HostUnreachable"
    """libvirt does not answer; the message has its words. Check the host, and spec.providerID."""
    HEARTBEAT_MISSED = "HeartbeatMissed"
    """No worker has asked the host for a while. Check that `drover work` runs."""
    DUPLICATE_HOST = "DuplicateHost"
    """Another Node is the same libvirt host: delete one of them."""
    NOT_ADOPTED = "NotAdopted"
    """Somebody else manages those guests, or they cannot be taken on as they are; the message says of each why, or what to do."""
    GUESTS_LEFT = "GuestsLeft"
    """Guests are still there. They leave within the limits; take the annotation off to stop that."""
    ALL_REACHED = "AllReached"
    """Every other Node that was asked for is reached."""
    NOT_REACHED = "NotReached"
    """libvirt there does not answer this host, or does not let it in. Check what the message says, the other Node's annotation
    `kubevirt.io/peer-uri`, and this host's certificates or keys. Asked again within a minute."""
    NOT_YET = "NotYet"
    """All certificates count for more than 30 days."""
    SOON = "Soon"
    """A certificate is over within 30 days: renew it."""
    EXPIRED = "Expired"
    """A certificate is over: nobody connects with it."""
    EMPTY = "Empty"
    """No guest is left, and none comes."""


class AddressType(StrEnum):
    """What kind of address it is."""

    HOSTNAME = "Hostname"
    """A name."""
    INTERNAL_IP = "InternalIP"
    """An address by which other hosts reach it."""
    EXTERNAL_IP = "ExternalIP"
    """An address by which everybody reaches it."""
    INTERNAL_DNS = "InternalDNS"
    """A DNS name that resolves to the internal address."""
    EXTERNAL_DNS = "ExternalDNS"
    """A DNS name that resolves to the external address."""


class Taint(Shape):
    """Keeps guests away."""

    key: str = ""
    """The taint's key: as a label's."""
    value: str | None = None
    """The taint's value: as a label's."""
    effect: str = ""
    """NoSchedule, PreferNoSchedule or NoExecute."""
    time_added: Time | None = None
    """When a NoExecute taint was added."""


class NodeSpec(Shape):
    """Which host it is, and whether it takes guests."""

    provider_id: str = Field(default="", alias="providerID")
    """The host's libvirt URI: qemu+tls://host/system, qemu+ssh://…, qemu+unix:///session?socket=…"""
    pod_cidr: str = Field(default="", alias="podCIDR")
    """The first of podCIDRs. Kept for programs that say it: a libvirt host has no network of pods."""
    pod_cidrs: Annotated[list[str], SET] = Field(default_factory=list, alias="podCIDRs")
    """A network of IPv4, of IPv6, or one of each. Kept, and not used; once said it cannot be changed."""
    unschedulable: bool | None = None
    """True keeps further guests away: `kubectl cordon`."""
    taints: Annotated[list[Taint], ATOMIC] = Field(default_factory=list)
    """Keep guests away."""


class NodeCondition(DescribedCondition):
    """One observation about a Node."""

    type: ConditionType
    """Ready, PeersReachable, CertificatesExpiring, ForeignGuests or Drained."""
    last_heartbeat_time: MaybeTime | None = None
    """When it was last observed."""
    last_transition_time: MaybeTime | None = None
    """When the status last changed."""


class NodeAddress(Shape):
    """An address of the host."""

    type: AddressType
    """What kind of address it is."""
    address: str
    """The address."""


class NodeSystemInfo(Shape):
    """What the host is."""

    machine_id: str = Field(default="", alias="machineID")
    """libvirt's UUID of the host."""
    system_uuid: str = Field(default="", alias="systemUUID")
    """libvirt's UUID of the host."""
    boot_id: str = Field(default="", alias="bootID")
    """Empty: libvirt does not tell."""
    kernel_version: str = ""
    """The host's kernel."""
    os_image: str = ""
    """The host's operating system."""
    container_runtime_version: str = ""
    """The hypervisor and its version: qemu://7.2.0."""
    kubelet_version: str = ""
    """libvirt's version: what manages the guests here."""
    kube_proxy_version: str = ""
    """Empty: there is none."""
    operating_system: str = ""
    """linux."""
    architecture: str = ""
    """amd64, arm64, …"""


class DaemonEndpoint(Shape):
    """Where something listens on the host."""

    port: Int32 = Field(default=0, alias="Port")
    """0: there is none."""


class NodeDaemonEndpoints(Shape):
    """Where Kubernetes' own programs listen on the host."""

    kubelet_endpoint: DaemonEndpoint | None = None
    """Nowhere: a libvirt host has no kubelet."""


class NodeGuestCpus(Shape):
    """The CPUs that the host can give to guests of one type."""

    domain_type: str
    """kvm or qemu."""
    model: str = ""
    """The named model nearest to the host's own."""
    models: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """Every named model that it can give to a guest."""
    features: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """Every CPU feature that it can give to a guest; empty where libvirt does not tell."""


class NodeHypervisor(Shape):
    """What guests can be given here, by libvirt's word. What is unset is not known, and then excludes no guest."""

    domain_types: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """kvm, qemu: what it can run."""
    machine_types: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """The machine types that its emulator offers."""
    cpus: Annotated[list[NodeGuestCpus], ATOMIC] = Field(default_factory=list)
    """The CPUs that it can give to guests, by domain type."""
    networks: Annotated[list[str], ATOMIC] | None = None
    """Active libvirt networks."""
    interfaces: Annotated[list[str], ATOMIC] | None = None
    """Active bridges and interfaces of the host."""


class NodePeer(Shape):
    """Another Node that this host's libvirt does not reach."""

    name: str
    """The Node's name."""
    message: str
    """libvirt's words."""


class NodeStatus(Shape):
    """What the host offers, and how it is."""

    capacity: dict[str, str] = Field(default_factory=dict)
    """What the host has: cpu, memory, and memory in huge pages such as hugepages-2Mi."""
    allocatable: dict[str, str] = Field(default_factory=dict)
    """What of it guests may have: cpu times the allocation ratio, and memory apart from its huge pages."""
    phase: str = ""
    """Deprecated by Kubernetes, and never filled: see conditions."""
    conditions: Annotated[list[NodeCondition], map_by("type")] = Field(default_factory=list)
    """What was observed, with reasons."""
    addresses: Annotated[list[NodeAddress], map_by("type")] = Field(default_factory=list)
    """How it is reached."""
    daemon_endpoints: NodeDaemonEndpoints | None = None
    """Nowhere: a libvirt host has no kubelet."""
    node_info: NodeSystemInfo | None = None
    """What the host is."""
    hypervisor: NodeHypervisor | None = None
    """What guests can be given here: by this placement excludes the node for those that ask for something else."""
    unreachable_peers: Annotated[list[NodePeer], map_by("name")] = Field(default_factory=list)
    """Nodes to which no guest moves from here: this host's libvirt does not reach theirs. At most a hundred."""


DEFAULT_WORKERS = 20
"""libvirtd's own default of max_workers."""
SPARE_WORKERS = 4
"""Of a libvirtd's workers: with all of them busy nobody could ask it how a migration is, nor stop one."""

DRIVERS = ("qemu", "fake")
"""`fake` is the simulated host of tests and demonstrations."""
TRANSPORTS = ("", "unix", "tls", "tcp", "ssh", "libssh", "libssh2")
"""libvirt's, but for `ext`, which runs a program that the URI names."""
URI_PARAMETERS = frozenset(
    {"socket", "mode", "name", "no_verify", "no_tty", "no_sanity", "keyfile", "known_hosts", "known_hosts_verify"}
    | {"sshauth", "pkipath", "proxy", "tls_priority"}
)
"""libvirt's, but for `command` and `netcat`, which name programs."""


OURS = frozenset({"keyfile", "known_hosts", "known_hosts_verify", "pkipath"})
"""Of these parameters, those that name files of Drover's own machine in the URI by which Drover reaches a host: they are named
by sets of credentials."""


def _uri_problems(path: str, uri: str) -> Iterator[FieldError]:
    """libvirt runs what some URIs name, here or on another host: only what cannot do so passes."""
    try:
        parts = urlsplit(uri)
        host, user = parts.hostname or "", parts.username or ""
    except ValueError as wrong:
        yield invalid(path, uri, str(wrong))
        return
    driver, _, transport = parts.scheme.partition("+")
    if driver not in DRIVERS or transport not in TRANSPORTS:
        yield invalid(
            path, uri, f"must be a libvirt URI qemu+<transport>://… with a transport of {', '.join(TRANSPORTS[1:])}"
        )
    if host.startswith("-") or user.startswith("-"):
        yield invalid(path, uri, "host and user may not begin with '-'")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name not in URI_PARAMETERS and driver != "fake":
            yield invalid(path, uri, f"parameter {name!r} is not allowed: use {', '.join(sorted(URI_PARAMETERS))}")


def _migration_uri_problems(path: str, uri: str) -> Iterator[FieldError]:
    try:
        scheme = urlsplit(uri).scheme
    except ValueError as wrong:
        yield invalid(path, uri, str(wrong))
        return
    if scheme not in ("tcp", "unix", "rdma"):
        yield invalid(path, uri, "must begin with tcp://, unix:// or rdma://")


def _taint_problems(taints: list[Document]) -> Iterator[FieldError]:
    """kube-apiserver tells of them below metadata, and shows a repeated one as it holds it in memory."""
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        at = f"metadata.taints[{index}]"
        key, value, effect = (str(taint.get(name) or "") for name in ("key", "value", "effect"))
        yield from (invalid(f"{at}.key", key, problem) for problem in qualified_name(key))
        if problems := list(label_value(value)):
            yield invalid(f"{at}.value", value, ";".join(problems))
        if not effect:
            yield required(f"{at}.effect")
        elif effect not in tuple(TaintEffect):
            yield unsupported(f"{at}.effect", effect, tuple(TaintEffect))
        if (key, effect) in seen:
            shown = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            yield duplicate(at, shown, "taints must be unique by key and effect pair")
        seen.add((key, effect))


def _check(document: Document) -> Iterator[FieldError]:
    yield from _taint_problems((document.get("spec") or {}).get("taints") or [])
    yield from amount_problems(document.get("status") or {})
    yield from network_problems((document.get("spec") or {}).get("podCIDRs") or [])
    spec, metadata = document.get("spec") or {}, document.get("metadata") or {}
    provider = spec.get("providerID")
    if not provider:
        yield required("spec.providerID", "the host's libvirt URI, such as qemu+tls://host/system")
    else:
        yield from _uri_problems("spec.providerID", provider)
    hostname = (metadata.get("labels") or {}).get(names.HOSTNAME)
    if hostname != metadata.get("name"):
        yield invalid(f"metadata.labels[{names.HOSTNAME}]", hostname, "must be the Node's name")
    yield from _annotation_problems(metadata.get("annotations") or {})


def _annotation_problems(annotations: dict[str, str]) -> Iterator[FieldError]:
    def at(name: str) -> str:
        return f"metadata.annotations[{name}]"

    if peer := annotations.get(names.PEER_URI):
        yield from _uri_problems(at(names.PEER_URI), peer)
    if uri := annotations.get(names.MIGRATION_URI):
        yield from _migration_uri_problems(at(names.MIGRATION_URI), uri)
    if (chosen := annotations.get(names.CREDENTIALS)) is not None:
        yield from (invalid(at(names.CREDENTIALS), chosen, problem) for problem in dns_label(chosen))
    if namespace := annotations.get(names.ADOPT_NAMESPACE):
        yield from (invalid(at(names.ADOPT_NAMESPACE), namespace, problem) for problem in dns_label(namespace))
    for name in (names.ALLOCATABLE_MEMORY, names.ALLOCATABLE_CPU):
        if name in annotations:
            try:
                quantity.parse(annotations[name])
            except quantity.NotAQuantity as wrong:
                yield invalid(at(name), annotations[name], str(wrong))
    drain = annotations.get(names.DRAIN)
    if drain not in (None, "true", "false"):
        yield invalid(at(names.DRAIN), drain, "must be true or false")
    workers = annotations.get(names.LIBVIRTD_WORKERS)
    if workers is not None and not _is_number_above(workers, SPARE_WORKERS):
        yield invalid(at(names.LIBVIRTD_WORKERS), workers, f"must be a number greater than {SPARE_WORKERS}")
    for prefix in (part.strip() for part in annotations.get(names.SHARED_PATHS, "").split(",")):
        if prefix and not prefix.startswith("/"):
            yield invalid(at(names.SHARED_PATHS), prefix, "must be absolute paths, separated by commas")


def _is_number_above(text: str, least: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6 and int(text) > least


def _credentials_problems(document: Document) -> Iterator[FieldError]:
    uri = (document.get("spec") or {}).get("providerID") or ""
    try:
        query = urlsplit(uri).query
    except ValueError:
        return  # told otherwise
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name in OURS:
            help_ = f"parameter {name!r} names files of Drover's: use the annotation {names.CREDENTIALS}"
            yield invalid("spec.providerID", uri, help_)


def _check_create(document: Document) -> Iterator[FieldError]:
    yield from _check(document)
    yield from _credentials_problems(document)


def _check_update(old: Document, new: Document) -> Iterator[FieldError]:
    """What an earlier version took stays until it is changed. Of taints it is told twice, as kube-apiserver does."""
    before, after = ((document.get("spec") or {}).get("podCIDRs") or [] for document in (old, new))
    if before and before != after:
        yield forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
    yield from _taint_problems((new.get("spec") or {}).get("taints") or [])
    yield from _check(new)
    if (old.get("spec") or {}).get("providerID") != (new.get("spec") or {}).get("providerID"):
        yield from _credentials_problems(new)


def _default(document: Document) -> None:
    metadata = document.setdefault("metadata", {})
    if not metadata.get("labels"):
        metadata["labels"] = {}
    if metadata.get("name"):
        metadata["labels"].setdefault(names.HOSTNAME, metadata["name"])
    spec, status = document.get("spec") or {}, document.get("status") or {}
    if spec.get("unschedulable") is False:
        del spec["unschedulable"]
    name_networks(spec)
    if status.get("capacity") and status.get("allocatable") is None:
        status["allocatable"] = dict(status["capacity"])


def is_draining(document: Document) -> bool:
    """The operator's annotation asks for it to be emptied."""
    return ((document.get("metadata") or {}).get("annotations") or {}).get(names.DRAIN) == "true"


def takes_no_guests(document: Document) -> bool:
    """Cordoned, or annotated to be drained."""
    return bool((document.get("spec") or {}).get("unschedulable")) or is_draining(document)


def _state(document: Document) -> str:
    """As kubectl words it: Ready, NotReady or Unknown, and SchedulingDisabled."""
    conditions = (document.get("status") or {}).get("conditions") or []
    ready = next((c.get("status") for c in conditions if c.get("type") == ConditionType.READY), None)
    words = [{"True": "Ready", "False": "NotReady"}.get(ready or "", "Unknown" if ready is None else "NotReady")]
    if takes_no_guests(document):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(document: Document) -> str:
    labels = (document.get("metadata") or {}).get("labels") or {}
    prefixed = {key.removeprefix(names.ROLE_PREFIX) for key in labels if key.startswith(names.ROLE_PREFIX)}
    roles = sorted((prefixed | {labels.get(names.ROLE, "")}) - {""})
    return ",".join(roles) or "<none>"


def _address(type_: AddressType) -> Callable[[Document], str]:
    def read(document: Document) -> str:
        addresses = (document.get("status") or {}).get("addresses") or []
        return str(next((a.get("address") for a in addresses if a.get("type") == type_), "<none>"))

    return read


def _info(field: str, absent: str = "<unknown>") -> Callable[[Document], str]:
    return lambda document: ((document.get("status") or {}).get("nodeInfo") or {}).get(field) or absent


_NO_INFO = dict.fromkeys(NodeSystemInfo.model_json_schema(by_alias=True)["properties"], "")

NODE: Kind[NodeSpec, NodeStatus] = Kind(
    name="Node",
    plural="nodes",
    served=(CORE, KUBEVIRT),
    spec=NodeSpec,
    status=NodeStatus,
    description="Node is a libvirt host on which guests run.",
    namespaced=False,
    short_names=("no",),
    typed=True,
    counted=False,
    blank={
        "spec": {},
        "status": {
            "conditions": [{"lastHeartbeatTime": None, "lastTransitionTime": None}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": _NO_INFO,
        },
    },
    made_with_status=True,
    dns_label=True,
    columns=(
        Column("Status", _state, description="Whether the host answers and takes guests."),
        Column("Roles", _roles, description="From the labels node-role.kubernetes.io/."),
        AGE,
        Column("Version", _info("kubeletVersion", ""), description="libvirt's version."),
        Column(
            "Internal-IP", _address(AddressType.INTERNAL_IP), priority=1, description="By which other hosts reach it."
        ),
        Column("External-IP", _address(AddressType.EXTERNAL_IP), priority=1, description="By which all reach it."),
        Column("OS-Image", _info("osImage"), priority=1, description="The host's operating system."),
        Column("Kernel-Version", _info("kernelVersion"), priority=1, description="The host's kernel."),
        Column("Container-Runtime", _info("containerRuntimeVersion"), priority=1, description="The hypervisor."),
        Column("CPU", "status.allocatable.cpu", priority=1, description="CPU that guests may have."),
        Column("Memory", "status.allocatable.memory", priority=1, description="Memory that guests may have."),
        Column("URI", "spec.providerID", priority=1, description="The host's libvirt URI."),
    ),
    selectable=("spec.unschedulable",),
    default=_default,
    check_create=_check_create,
    check_update=_check_update,
)
