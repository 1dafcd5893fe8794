"""VirtualMachine: one guest, and the rules by which its node is chosen.

    "" ──▶ Pending ──▶ Scheduling ──▶ Scheduled ──▶ Running ◀──▶ Migrating
                                          │            │
                                          └────────────┴──▶ Succeeded | Failed        Unknown ◀──▶ any that has a node

Succeeded and Failed are final: a guest is started once for each object. Not so for an adopted one, which ran before Drover
found it: it follows its domain, and runs again when somebody starts that again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.kinds import affinity, names
from app.kinds.affinity import Affinity
from app.kinds.domain import DomainSpec
from app.kinds.node import TaintEffect
from app.kinds.shape import ATOMIC, MAP_ATOMIC, DescribedCondition, LabelMap, Shape, Time, label_problems, map_by
from app.machinery.errors import FieldError, forbidden, invalid, required
from app.machinery.kind import AGE, KUBEVIRT, Column, Kind
from app.machinery.names import qualified_name
from app.machinery.objects import Document

MAX_DOMAIN_XML = 256 * 1024
"""Characters. A large guest's XML has some 20,000."""


class Phase(StrEnum):
    """How far a VirtualMachine is."""

    NEW = ""
    """Drover has not looked at it yet. If it stays so, no worker runs: start `drover work`."""
    PENDING = "Pending"
    """Drover has taken it on."""
    SCHEDULING = "Scheduling"
    """No node fits yet. The condition Ready says which node is out and why: uncordon or add one, or relax a selector."""
    SCHEDULED = "Scheduled"
    """A node is chosen and reserved, and starts the guest. The condition Synchronized has libvirt's words when it refuses."""
    RUNNING = "Running"
    """The guest runs on status.nodeName. A paused guest is Running too, with the condition Paused."""
    MIGRATING = "Migrating"
    """The guest is being moved to status.migrationNodeName; until that is over status.nodeName has it."""
    SUCCEEDED = "Succeeded"
    """The guest powered itself off. Final, unless it was adopted: delete the object and create it again to start it again."""
    FAILED = "Failed"
    """The guest could not start, crashed, was destroyed, or its host was restarted; the condition Ready says which. Final,
    unless it was adopted."""
    UNKNOWN = "Unknown"
    """The guest's host does not answer, so nobody can know. The guest is not started elsewhere: bring the host back."""


FINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED})


class ConditionType(StrEnum):
    """What conditions of a VirtualMachine observe."""

    READY = "Ready"
    """The guest runs."""
    SYNCHRONIZED = "Synchronized"
    """The host has taken the guest's definition; False carries libvirt's own message."""
    LIVE_MIGRATABLE = "LiveMigratable"
    """The guest can be moved while it runs; False carries what prevents it."""
    PAUSED = "Paused"
    """The guest's CPUs are stopped. It may be moved, and stays paused."""
    DUPLICATE = "Duplicate"
    """The guest runs on two hosts at once, past Drover: both may write to its disks. Nothing is ended: decide which of them
    is the right one and destroy the other by hand."""


class Reason(StrEnum):
    """Why a condition of a VirtualMachine is as it is."""

    GUEST_RUNNING = "GuestRunning"
    """The guest runs."""
    GUEST_NOT_RUNNING = "GuestNotRunning"
    """The guest does not run yet."""
    UNSCHEDULABLE = "Unschedulable"
    """No node fits; the message counts the nodes by what excludes them."""
    STARTED = "Started"
    """The host has taken the guest's definition and started it."""
    DOMAIN_REFUSED = "DomainRefused"
    """libvirt refuses the definition; the message has its words. Delete the object and create a better one."""
    HOST_INCOMPATIBLE = "HostIncompatible"
    """This host can never run this definition; the message has libvirt's words. Choose another node by its labels."""
    NODE_UNREACHABLE = "NodeUnreachable"
    """The guest's host does not answer, since when the condition changed. Bring the host back."""
    NODE_LOST = "NodeLost"
    """The guest's host does not answer, and the operator has declared by the taint node.kubernetes.io/out-of-service:NoExecute
    that it is off: the guest is lost."""
    GUEST_SHUT_DOWN = "GuestShutDown"
    """The guest powered itself off."""
    GUEST_CRASHED = "GuestCrashed"
    """The guest or its emulator crashed. The host's log of the domain may tell why."""
    GUEST_DESTROYED = "GuestDestroyed"
    """Somebody ended the guest on the host, past Drover."""
    GUEST_VANISHED = "GuestVanished"
    """The host answers and does not know the guest any more: somebody removed the definition, or moved it away."""
    HOST_RESTARTED = "HostRestarted"
    """The guest is off and libvirt knows no reason, as after a restart of its host. Delete the object and create it again."""
    GUEST_PAUSED = "GuestPaused"
    """Somebody suspended the guest on the host."""
    MIGRATABLE = "Migratable"
    """Nothing is known that would prevent a move."""
    HOST_DEVICES = "HostDevices"
    """The guest holds devices of its host."""
    LOCAL_STORAGE = "LocalStorage"
    """The guest writes to a disk that only its host can reach, and that cannot be copied while it runs: a device, or an image
    that is neither raw nor qcow2, or shared with other guests. Declare what hosts share in the Nodes' annotation
    kubevirt.io/shared-paths."""
    NVME_DISK = "NvmeDisk"
    """The guest has an NVMe drive of its host as a disk."""
    TRANSIENT_DISK = "TransientDisk"
    """What the guest wrote to a transient disk would be lost."""
    SNAPSHOTS = "Snapshots"
    """libvirt keeps snapshots of the guest, and moves none that has any. Delete them, or their metadata."""
    BLOCK_JOB = "BlockJob"
    """libvirt is at work on a disk: a copy, commit or backup. Wait until it is over."""
    SHARED_MEMORY = "SharedMemory"
    """The guest shares memory with others on its host."""
    SHARED_FILESYSTEM = "SharedFilesystem"
    """The guest has mounted a directory of its host. Unplug it first."""
    VDPA_INTERFACE = "VdpaInterface"
    """The guest has a vDPA interface, whose state is in its host's card."""
    INVARIANT_TSC = "InvariantTsc"
    """The guest counts by an invariant TSC. Give its clock's timer tsc a frequency, so that another host can keep it."""
    BEING_DELETED = "BeingDeleted"
    """The object was deleted: the guest is being shut down, or, if it was adopted, let go."""
    ADOPTED = "Adopted"
    """The guest ran already when Drover found it on its host."""
    GUEST_MOVED = "GuestMoved"
    """Somebody moved the guest to another host, past Drover."""
    RUNS_TWICE = "RunsTwice"
    """Two hosts run the guest, no migration is under way, and it stays so. Destroy one of the two by hand."""


class TolerationOperator(StrEnum):
    """How a toleration's value is compared with a taint's."""

    EQUAL = "Equal"
    """The values are the same."""
    EXISTS = "Exists"
    """Any value; no value may be given."""


class Toleration(Shape):
    """Lets the guest onto nodes with a taint."""

    key: str = ""
    """The taint's key; empty with Exists matches every taint."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """Equal or Exists."""
    value: str = ""
    """The taint's value."""
    effect: TaintEffect | None = None
    """NoSchedule, PreferNoSchedule or NoExecute; unset matches each."""


class VMSpec(Shape):
    """The guest, and where it may run."""

    domain: DomainSpec | None = None
    """The guest, in the JSON form of libvirt's domain XML. Either this or domainXML; cannot be changed."""
    domain_xml: Annotated[str, Field(min_length=1, max_length=MAX_DOMAIN_XML)] | None = Field(
        default=None, alias="domainXML"
    )
    """The guest as libvirt domain XML. Name, uuid and Drover's metadata are set by Drover. Cannot be changed."""
    node_selector: Annotated[LabelMap, MAP_ATOMIC] = Field(default_factory=dict)
    """Labels that a node must carry. Changing it moves nothing: the next Migration uses it."""
    affinity: Affinity | None = None
    """Rules about nodes. Changing them moves nothing: the next Migration uses them."""
    tolerations: Annotated[list[Toleration], ATOMIC] = Field(default_factory=list)
    """The taints of nodes that do not keep this guest away. Changing them moves nothing: the next Migration uses them."""
    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=86400)] = 30
    """How long the guest has to shut down before it is ended."""


class VMCondition(DescribedCondition):
    """One observation about a VirtualMachine."""

    type: ConditionType
    """Ready, Synchronized, LiveMigratable, Paused or Duplicate."""
    last_probe_time: Time | None = None
    """When it was last observed."""


class VMGraphics(Shape):
    """A graphical console."""

    type: str
    """vnc or spice."""
    host: str
    """Where it listens."""
    port: int
    """Its port."""


class VMCpu(Shape):
    """The CPU that the guest sees."""

    mode: str = ""
    """custom, host-passthrough or maximum."""
    model: str = ""
    """The named model."""
    required: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """Features beside the model's own."""
    disabled: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """Features of the model that it does not have."""


class VMDisk(Shape):
    """A disk of the guest's that lies in a file or device of its host."""

    target: str
    """As the guest sees it: vda."""
    type: str
    """file, block or dir."""
    path: str
    """Where it is on the host."""
    format: str | None = None
    """raw, qcow2, …"""
    copyable: bool | None = None
    """It can be copied to another host while the guest runs."""
    read_only: bool | None = None
    """The guest only reads it, such as a CD: it is brought to the target before the guest moves."""
    size: int | None = None
    """Bytes that would be copied, rounded up by less than an eighth; of an image that is layered on others, at most."""


class VMMadeDisk(Shape):
    """A file that Drover made for a guest's disk. No other file is ever removed by Drover."""

    node_name: str
    """On which node's host."""
    path: str
    """Where it is there."""
    obsolete: bool | None = None
    """The guest has left it, or never came to it: it is removed as soon as its host answers."""


class VMHostRequirements(Shape):
    """What the running guest asks of a host, from its live definition."""

    domain_name: str = ""
    """libvirt's name of it, which must be free on the target."""
    domain_type: str = ""
    """kvm or qemu."""
    arch: str = ""
    """Its architecture: x86_64."""
    machine: str = ""
    """Its machine type, with the version."""
    cpu: VMCpu | None = None
    """Its CPU."""
    networks: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """The libvirt networks that it is attached to."""
    interfaces: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """The bridges and interfaces of its host that it is attached to."""
    disks: Annotated[list[VMDisk], map_by("target")] = Field(default_factory=list)
    """The disks that the target must reach too, or be given."""


class VMStatus(Shape):
    """How the guest is, and where."""

    phase: Phase = Phase.NEW
    """Empty, Pending, Scheduling, Scheduled, Running, Migrating, Succeeded, Failed or Unknown."""
    node_name: str | None = None
    """Where the guest runs."""
    migration_node_name: str | None = None
    """Where it is being moved to."""
    conditions: Annotated[list[VMCondition], map_by("type")] = Field(default_factory=list)
    """What was observed, with reasons."""
    graphics: Annotated[list[VMGraphics], ATOMIC] = Field(default_factory=list)
    """Its graphical consoles."""
    adopted: bool | None = None
    """The guest ran already when Drover found it. It keeps its name and UUID in libvirt and follows its domain, and deleting
    the object does not stop it."""
    domain_name: str | None = None
    """An adopted guest's name in libvirt."""
    domain_uuid: str | None = Field(default=None, alias="domainUUID")
    """An adopted guest's UUID in libvirt; that of others is metadata.uid."""
    made_disks: Annotated[list[VMMadeDisk], ATOMIC] = Field(default_factory=list)
    """Files that Drover made, or was about to make, for its disks."""
    host_requirements: VMHostRequirements | None = None
    """What the running guest asks of a host: by this its next node is chosen."""


def _check_create(document: Document) -> Iterator[FieldError]:
    spec = document.get("spec") or {}
    has_domain, has_xml = spec.get("domain") is not None, spec.get("domainXML") is not None
    if not has_domain and not has_xml:
        yield required("spec.domain", "one of domain and domainXML")
    if has_domain and has_xml:
        yield forbidden("spec.domainXML", "may not be specified beside domain")
    yield from _scheduling_problems(spec)


def _scheduling_problems(spec: Document) -> Iterator[FieldError]:
    yield from label_problems("spec.nodeSelector", spec.get("nodeSelector"))
    if spec.get("affinity"):
        yield from affinity.problems("spec.affinity", Affinity.read(spec["affinity"]))
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _toleration_problems(f"spec.tolerations[{index}]", Toleration.read(toleration))


def _toleration_problems(path: str, toleration: Toleration) -> Iterator[FieldError]:
    """As kube-apiserver words it."""
    exists = toleration.operator is TolerationOperator.EXISTS
    if toleration.key:
        yield from (invalid(f"{path}.key", toleration.key, problem) for problem in qualified_name(toleration.key))
    elif not exists:
        yield invalid(f"{path}.operator", toleration.operator.value, "operator must be Exists when `key` is empty")
    if exists and toleration.value:
        yield invalid(f"{path}.operator", toleration.operator.value, "value must be empty when `operator` is 'Exists'")


def _check_update(old: Document, new: Document) -> Iterator[FieldError]:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    for field in ("domain", "domainXML"):
        if before.get(field) != after.get(field):
            # Forbidden, not Invalid, which would repeat the whole definition.
            yield forbidden(f"spec.{field}", "field is immutable: a running guest keeps its definition")
    if before != after:
        yield from _scheduling_problems(after)


def _status_of(type_: ConditionType) -> Callable[[Document], str | None]:
    def status(document: Document) -> str | None:
        return next((str(c.get("status")) for c in _conditions(document) if c.get("type") == type_), None)

    return status


def _conditions(document: Document) -> list[Document]:
    return (document.get("status") or {}).get("conditions") or []


_WORRYING = (
    (ConditionType.DUPLICATE, ("True",)),
    (ConditionType.READY, ("False", "Unknown")),
    (ConditionType.PAUSED, ("True",)),
    (ConditionType.LIVE_MIGRATABLE, ("False",)),
)
"""The worst first."""


def _reason(document: Document) -> str | None:
    """What is the matter with it: the worst of what its conditions say."""
    said = {condition.get("type"): condition for condition in _conditions(document)}
    for type_, bad in _WORRYING:
        condition = said.get(type_) or {}
        if condition.get("status") in bad and condition.get("reason"):
            return str(condition["reason"])
    return None


VIRTUAL_MACHINE: Kind[VMSpec, VMStatus] = Kind(
    name="VirtualMachine",
    plural="virtualmachines",
    served=(KUBEVIRT,),
    spec=VMSpec,
    status=VMStatus,
    description="VirtualMachine is one guest, and the rules by which its node is chosen.",
    short_names=("vm", "vms"),
    categories=("all",),
    dns_label=True,
    columns=(
        Column("Phase", "status.phase", description="How far it is."),
        Column("Node", "status.nodeName", description="Where the guest runs."),
        Column("Ready", _status_of(ConditionType.READY), description="Whether the guest runs."),
        AGE,
        Column("Target", "status.migrationNodeName", priority=1, description="Where it is being moved to."),
        Column(
            "Live-Migratable",
            _status_of(ConditionType.LIVE_MIGRATABLE),
            priority=1,
            description="Whether it can be moved while it runs.",
        ),
        Column(
            "Reason", _reason, priority=1, description="Why it is not ready, runs twice, is paused, or cannot move."
        ),
        Column("UID", "metadata.uid", priority=1, description="Also the guest's libvirt UUID, unless it was adopted."),
    ),
    selectable=("status.phase", "status.nodeName", "status.migrationNodeName"),
    finalizers=(names.VIRTUAL_MACHINE_FINALIZER,),
    check_create=_check_create,
    check_update=_check_update,
)
