"""Pod: a guest's place on a node, or the process that moves one. Made by Drover; stored as core v1, served twice."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from app.kinds import names
from app.kinds.affinity import Affinity
from app.kinds.shape import ATOMIC, MAP_ATOMIC, DescribedCondition, Int32, LabelMap, Shape, Time, map_by
from app.machinery.errors import ApiError, FieldError, forbidden
from app.machinery.kind import AGE, CORE, KUBEVIRT, Column, GroupVersion, Kind, Subresource
from app.machinery.objects import Document


class Phase(StrEnum):
    """How a pod's guest or process is."""

    PENDING = "Pending"
    """Not started: the guest has yet to start or to arrive, the process is still to be run."""
    RUNNING = "Running"
    """The guest runs on the pod's node, or the process runs."""
    SUCCEEDED = "Succeeded"
    """It ended well: powered off, moved away, or exit code 0."""
    FAILED = "Failed"
    """It ended badly; state.terminated has exit code, reason and message."""
    UNKNOWN = "Unknown"
    """The pod's host does not answer."""


class ConditionType(StrEnum):
    """What conditions of a Pod observe."""

    POD_SCHEDULED = "PodScheduled"
    """A node has been chosen."""
    INITIALIZED = "Initialized"
    """Always so: nothing runs before."""
    CONTAINERS_READY = "ContainersReady"
    """The guest or the process runs."""
    READY = "Ready"
    """The guest or the process runs."""
    DISRUPTION_TARGET = "DisruptionTarget"
    """It is about to be ended from outside."""


class RestartPolicy(StrEnum):
    """Whether what ended is started again."""

    ALWAYS = "Always"
    """Whatever the exit code."""
    ON_FAILURE = "OnFailure"
    """Unless the exit code is 0."""
    NEVER = "Never"
    """Never: guests and migrations."""


class ResourceRequirements(Shape):
    """What is reserved on the node."""

    requests: dict[str, str] = Field(default_factory=dict)
    """Reserved: cpu, memory, and memory in huge pages such as hugepages-2Mi, as quantities."""
    limits: dict[str, str] = Field(default_factory=dict)
    """At most: cpu and memory, as quantities."""


class Container(Shape):
    """The guest, or the process that moves one."""

    name: str
    """`compute` for a guest, `migration` for a migration's process."""
    image: str = ""
    """What runs in it."""
    command: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """What is run."""
    args: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """With which arguments."""
    resources: ResourceRequirements | None = None
    """What is reserved on the node."""


class PodSpec(Shape):
    """What runs where. Cannot be changed."""

    node_name: str | None = None
    """The node to which the pod is bound until it is deleted."""
    node_selector: Annotated[LabelMap, MAP_ATOMIC] = Field(default_factory=dict)
    """Labels that the node had to carry when it was chosen."""
    affinity: Affinity | None = None
    """Rules by which the node was chosen."""
    containers: Annotated[list[Container], map_by("name")] = Field(default_factory=list)
    """The one container: the guest, or the process that moves one."""
    restart_policy: RestartPolicy | None = None
    """Never."""
    termination_grace_period_seconds: int | None = None
    """How long the guest has to shut down."""


class ContainerStateWaiting(Shape):
    """It is not started yet."""

    reason: str | None = None
    """Why, in a word."""
    message: str | None = None
    """Why, in a sentence."""


class ContainerStateRunning(Shape):
    """It runs."""

    started_at: Time | None = None
    """Since when."""


class ContainerStateTerminated(Shape):
    """It ended."""

    exit_code: Int32
    """The process's exit status; 128 plus the signal's number when a signal ended it."""
    signal: Int32 | None = None
    """The signal that ended it."""
    reason: str | None = None
    """Why, in a word."""
    message: str | None = None
    """Why, in a sentence."""
    started_at: Time | None = None
    """When it started."""
    finished_at: Time | None = None
    """When it ended."""
    container_id: str | None = Field(default=None, alias="containerID")
    """Which process it was."""


class ContainerState(Shape):
    """Waiting, running or terminated: one of them."""

    waiting: ContainerStateWaiting | None = None
    """It is not started yet."""
    running: ContainerStateRunning | None = None
    """It runs."""
    terminated: ContainerStateTerminated | None = None
    """It ended."""


class ContainerStatus(Shape):
    """How the container is."""

    name: str
    """The container's name."""
    state: ContainerState | None = None
    """How it is now."""
    last_state: ContainerState | None = None
    """How it was before it was last started again."""
    ready: bool = False
    """It runs."""
    restart_count: Int32 = 0
    """How often it was started again."""
    image: str = ""
    """What runs in it."""
    image_id: str = Field(default="", alias="imageID")
    """Which version of it."""
    container_id: str | None = Field(default=None, alias="containerID")
    """Which process or guest it is."""
    started: bool | None = None
    """It has started."""


class PodCondition(DescribedCondition):
    """One observation about a Pod."""

    last_probe_time: Time | None = None
    """When it was last observed."""


class PodIP(Shape):
    """An address."""

    ip: str
    """The address."""


class PodStatus(Shape):
    """How the guest or the process is."""

    phase: Phase | None = None
    """Pending, Running, Succeeded, Failed or Unknown."""
    conditions: Annotated[list[PodCondition], map_by("type")] = Field(default_factory=list)
    """What was observed."""
    message: str | None = None
    """Why it is in this phase, in a sentence."""
    reason: str | None = None
    """Why it is in this phase, in a word."""
    host_ip: str | None = Field(default=None, alias="hostIP")
    """The node's address."""
    pod_ip: str | None = Field(default=None, alias="podIP")
    """The guest's address, where it is known."""
    pod_ips: Annotated[list[PodIP], map_by("ip")] = Field(default_factory=list, alias="podIPs")
    """The guest's addresses, where they are known."""
    start_time: Time | None = None
    """When its host took it on."""
    container_statuses: Annotated[list[ContainerStatus], ATOMIC] = Field(default_factory=list)
    """How its one container is."""
    qos_class: str | None = None
    """Burstable: what is reserved is not a limit."""


def _check_create(_document: Document) -> Iterator[FieldError]:
    yield forbidden("spec", "pods are made by Drover: create a VirtualMachine, or a Migration")


def _check_update(old: Document, new: Document) -> Iterator[FieldError]:
    if (old.get("spec") or {}) != (new.get("spec") or {}):
        yield forbidden("spec", "pod updates may not change the spec: a pod is bound to its node until it is deleted")


def _check_delete(document: Document) -> ApiError | None:
    """A deleted pod never ends a guest or a migration: its owner does."""
    phase = (document.get("status") or {}).get("phase") or Phase.PENDING
    if phase in (Phase.SUCCEEDED, Phase.FAILED):
        return None
    metadata = document.get("metadata") or {}
    labels = metadata.get("labels") or {}
    match labels.get(names.APP):
        case names.APP_MIGRATION:
            migration = labels.get(names.MIGRATION_NAME, "")
            help_ = f'it moves a guest: delete the Migration "{migration}" to cancel that'
        case names.APP_LAUNCHER:
            help_ = f'its guest runs or arrives: delete the VirtualMachine "{labels.get(names.DOMAIN, "")}", or evict the pod'
        case _:
            return None
    name = str(metadata.get("name", ""))
    return ApiError(403, "Forbidden", f'pods "{name}" is forbidden: {help_}', {"name": name, "kind": "pods"})


def _container_status(document: Document) -> dict[str, Any]:
    statuses = (document.get("status") or {}).get("containerStatuses") or [{}]
    first: dict[str, Any] = statuses[0]
    return first


def _ready(document: Document) -> str:
    return f"{int(bool(_container_status(document).get('ready')))}/1"


def _state(document: Document) -> str:
    """As kubectl words it: what the container says, else the phase; Terminating while it goes."""
    status = document.get("status") or {}
    state = _container_status(document).get("state") or {}
    reason = (state.get("waiting") or {}).get("reason") or (state.get("terminated") or {}).get("reason")
    said = reason or status.get("reason") or status.get("phase") or Phase.PENDING.value
    if (document.get("metadata") or {}).get("deletionTimestamp"):
        return "Terminating"
    return "Completed" if said == Phase.SUCCEEDED else str(said)


def _restarts(document: Document) -> str:
    return str(_container_status(document).get("restartCount") or 0)


def _or_none(*path: str) -> Any:
    def read(document: Document) -> str:
        value: Any = document
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return str(value) if value else "<none>"

    return read


POLICY = GroupVersion("policy", "v1")

POD: Kind[PodSpec, PodStatus] = Kind(
    name="Pod",
    plural="pods",
    served=(CORE, KUBEVIRT),
    spec=PodSpec,
    status=PodStatus,
    description="Pod is a guest's place on a node, or the process that moves a guest.",
    short_names=("po",),
    categories=("all",),
    typed=True,
    blank={"spec": {"containers": None}, "status": {}},
    columns=(
        Column("Ready", _ready, description="Containers that run, of how many."),
        Column("Status", _state, description="How the guest or the process is."),
        Column("Restarts", _restarts, description="How often it was started again."),
        AGE,
        Column("IP", _or_none("status", "podIP"), priority=1, description="The guest's address."),
        Column("Node", _or_none("spec", "nodeName"), priority=1, description="Where it is."),
        Column("Nominated Node", _or_none("status", "nominatedNodeName"), priority=1, description="Never set."),
        Column("Readiness Gates", _or_none("spec", "readinessGates"), priority=1, description="Never set."),
    ),
    selectable=(
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    check_create=_check_create,
    check_update=_check_update,
    check_delete=_check_delete,
    shown_deleted=True,
    subresources=(
        Subresource("log", ("get",), "Pod"),
        Subresource("eviction", ("create",), "Eviction", POLICY),
    ),
)
