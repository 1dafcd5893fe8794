"""Migration: the request to move one running VirtualMachine to another node, and the record of how that went.

    "" ──▶ Pending ──▶ Scheduling ──▶ Running ──▶ Succeeded
                │            │           │
                └────────────┴───────────┴──────▶ Failed

A phase never goes back; Succeeded and Failed are final.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from app.kinds import names
from app.kinds.migration_options import CHANGEABLE, MigrationConfiguration, MigrationOptions, fixed, option_problems
from app.kinds.shape import MAP_ATOMIC, DescribedCondition, LabelMap, Shape, Time, label_problems, map_by
from app.machinery.errors import FieldError, forbidden, invalid
from app.machinery.kind import AGE, KUBEVIRT, Column, Kind
from app.machinery.objects import Document


class Phase(StrEnum):
    """How far a Migration is."""

    NEW = ""
    """Drover has not looked at it yet. If it stays so, no worker runs: start `drover work`."""
    PENDING = "Pending"
    """It waits for one of the migrations that may run at once, in the cluster or out of its source. It starts by
    itself, the most urgent first (spec.priority) and of those the oldest; a higher limit or fewer migrations help."""
    SCHEDULING = "Scheduling"
    """No node fits yet, or those that fit receive as many guests as they may. The condition Scheduled says which node
    is out and why: uncordon or add one, or relax a selector."""
    RUNNING = "Running"
    """A target is reserved and the guest's memory is being copied. status.progress tells how far; deleting the
    Migration stops it and leaves the guest where it is."""
    SUCCEEDED = "Succeeded"
    """The guest runs on the target. Final."""
    FAILED = "Failed"
    """The guest was not moved: it is where it was. The condition Failed says why. Final: create another Migration."""


FINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED})

_INT32 = 2**31 - 1


class ConditionType(StrEnum):
    """What conditions of a Migration observe."""

    SCHEDULED = "Scheduled"
    """Whether a target has been chosen; False carries the reason and every node that is out."""
    SUCCEEDED = "Succeeded"
    """True once the guest runs on the target: `kubectl wait --for=condition=Succeeded`."""
    FAILED = "Failed"
    """True once the Migration has failed, with the reason."""
    RETRYING = "Retrying"
    """True between two attempts: the last one failed, as the reason says, and another follows on a freshly chosen node. Its
    slot and its reservation are given back meanwhile. False once that other attempt has begun."""
    HELD = "Held"
    """True while nobody can know where the guest is because a host does not answer. Bring that host back, or declare it to be
    off (taint node.kubernetes.io/out-of-service:NoExecute), or say where the guest is (annotation kubevirt.io/resolve=source,
    target or lost): nothing is started, resumed or ended before."""
    RESOLVED = "Resolved"
    """False while the operator's word about a held guest is refused, because a host says otherwise."""


class Reason(StrEnum):
    """Why a condition of a Migration is as it is, and why it failed."""

    VM_NOT_FOUND = "VMNotFound"
    """There is no VirtualMachine of that name in the Migration's namespace. Check spec.selector.name."""
    VM_NOT_RUNNING = "VMNotRunning"
    """The VirtualMachine has no running guest to move. Wait until its phase is Running."""
    VM_NOT_MIGRATABLE = "VMNotMigratable"
    """Something keeps the guest on its host; the VirtualMachine's condition LiveMigratable says what, and what would help."""
    MIGRATION_IN_PROGRESS = "MigrationInProgress"
    """Another Migration of the same VirtualMachine is unfinished. Wait for it or delete it."""
    NODE_SELECTOR_CONFLICT = "NodeSelectorConflict"
    """Migration and VirtualMachine want different values of one label. Change the VirtualMachine's nodeSelector, or
    create a Migration without that key."""
    WAITING_FOR_SLOT = "WaitingForSlot"
    """As many migrations run as may, in the cluster, out of the source or into every node that fits; the message has the
    limit and the setting or annotation that says it. It waits its turn."""
    QUEUE_TIMEOUT = "QueueTimeout"
    """It waited for its turn for longer than the queue's limit. Create it again, or raise the limits."""
    UNSCHEDULABLE = "Unschedulable"
    """No node fits; the message counts the nodes by what excludes them. Failed with this reason after the limit."""
    NODE_FOUND = "NodeFound"
    """A target is chosen and its memory and CPU are reserved."""
    CANCELLED = "Cancelled"
    """It was deleted, or its spec.cancel set, or its VirtualMachine deleted, before the guest had moved: the guest stayed on
    its source. Create another Migration when it may move."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """It ran for longer than spec.activeDeadlineSeconds and was stopped: the guest runs on its source. Create it again with
    more time, or let it copy faster."""
    NO_WORKER = "NoWorker"
    """A target was reserved, and no worker took the move on. Check that `drover work` runs, and that it has room for another
    process."""
    TARGET_REFUSED = "TargetRefused"
    """The target cannot take this guest; the message has libvirt's words. Exclude that node with a nodeSelector."""
    MIGRATION_FAILED = "MigrationFailed"
    """The copy ended with an error and the guest stayed on its source; the message has libvirt's words."""
    NOT_CONVERGING = "NotConverging"
    """The guest wrote to its memory faster than that could be sent, until the timeouts. It runs on its source. Allow
    auto-converge, post-copy or disruption, a longer downtime or more bandwidth, or move it when it is calmer."""
    TRANSFER_STUCK = "TransferStuck"
    """Nothing at all was sent for as long as progressTimeout. The guest runs on its source. See what holds up the network
    between the two hosts."""
    GUEST_STOPPED = "GuestStopped"
    """The guest ended on its source while it was being moved: there is nothing left to move."""
    TARGET_UNREACHABLE = "TargetUnreachable"
    """The target, or the way from the source to it, did not answer. The guest stayed on its source."""
    HOST_UNREACHABLE = "HostUnreachable"
    """A host that must be asked where the guest is does not answer. Nothing is done until it does."""
    LIBVIRT_BUSY = "LibvirtBusy"
    """libvirt works on the guest without copying it, or does not do what it is told; the message says which. It is tried again
    until it does, and nobody's word can help: see what is wrong with that guest's process or job on that host."""
    LOST = "Lost"
    """Neither host knows the guest any more: it ended, and nobody saw how."""
    NODE_LOST = "NodeLost"
    """The guest was lost with its host, which the operator declared to be off (node.kubernetes.io/out-of-service)."""
    AGAINST_EVIDENCE = "AgainstEvidence"
    """A host says otherwise than the operator's word (kubevirt.io/resolve); the message says which, and what."""
    MOVED = "Moved"
    """The guest runs on the target."""


class Word(StrEnum):
    """Where the operator says that the guest is, in the annotation kubevirt.io/resolve."""

    SOURCE = "source"
    """On its source, and it never ran on the target: one that was paused for the switch-over is resumed."""
    TARGET = "target"
    """On the target: a paused copy on the source is ended."""
    LOST = "lost"
    """Nowhere: halves of it that a broken post-copy left are ended."""


class FailureClass(StrEnum):
    """Whose fault a failure is: what would have to change before another attempt does better."""

    HOST = "Host"
    """One of the two hosts: another node may do better, so nodes that failed are avoided."""
    PATH = "Path"
    """The way between the two hosts: another pair may do better."""
    GUEST = "Guest"
    """What the guest did or is: another node does no better."""
    CONFIGURATION = "Configuration"
    """What was asked for or allowed: change that first."""


class Mode(StrEnum):
    """How the guest's memory is moved."""

    PRE_COPY = "PreCopy"
    """The guest runs on the source while its memory is copied."""
    POST_COPY = "PostCopy"
    """The guest runs on the target while the rest of its memory follows."""
    PAUSED = "Paused"
    """The guest is stopped while the rest of its memory is copied."""


class AbortStatus(StrEnum):
    """What became of the wish to cancel."""

    ABORTING = "Aborting"
    """The copy is being stopped."""
    SUCCEEDED = "Succeeded"
    """The guest stayed on its source."""
    FAILED = "Failed"
    """It came too late: the guest has moved."""


class Priority(StrEnum):
    """How urgent a Migration is, in KubeVirt's words. A long wait lifts (spec.priority)."""

    SYSTEM_CRITICAL = "system-critical"
    """A node must be emptied: evacuations. Served first."""
    USER_TRIGGERED = "user-triggered"
    """Somebody asked for this move."""
    SYSTEM_MAINTENANCE = "system-maintenance"
    """It may wait for everybody else: rebalancing."""


class VMSelector(Shape):
    """Which VirtualMachine is moved."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """Name of the VirtualMachine, in the Migration's own namespace."""


class MigrationSpec(Shape):
    """Which VirtualMachine is moved, whereto, and how. Only `cancel`, and of the
    options bandwidth and downtime, can be changed."""

    selector: VMSelector
    """Selects the VirtualMachine to move."""
    node_selector: Annotated[LabelMap, MAP_ATOMIC] = Field(default_factory=dict)
    """Labels that the target must carry, in addition to the VirtualMachine's own nodeSelector. A key that both name with
    different values fails the Migration."""
    priority: Priority | None = None
    """system-critical, user-triggered or system-maintenance: who is served first when not all can run at once. Unset
    counts as user-triggered. Whoever has waited for 10 minutes is served as if it were one step more urgent, after 20
    minutes two."""
    options: MigrationOptions | None = None
    """How the guest is moved. What is not set here, the MigrationPolicy that fits best says, and then the settings."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=_INT32)] | None = None
    """How long it may be Running, all attempts and the waits between them together; then it is stopped, and Failed with
    DeadlineExceeded. Unset: no limit. Cannot be changed."""
    backoff_limit: Annotated[int, Field(ge=0, le=100)] | None = None
    """How many further attempts follow one that failed because of a host or the way there, each on a freshly chosen node.
    Unset is 0. Cannot be changed."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=_INT32)] | None = None
    """The object is deleted so long after its end. Unset: it stays until the history's limit. Cannot be changed."""
    cancel: bool | None = None
    """True stops it, as a delete does, and keeps the object: Failed with Cancelled. When that comes too late the move ends,
    and the object says Succeeded. Can be set to true while it is not over, and not taken back."""


class MigrationCondition(DescribedCondition):
    """One observation about a Migration."""

    type: ConditionType
    """Scheduled, Succeeded, Failed, Retrying, Held or Resolved."""


class PhaseTransition(Shape):
    """When a phase began."""

    phase: Phase
    """The phase that began."""
    phase_transition_timestamp: Time
    """When it began."""


class MigrationState(Shape):
    """What is known about the move itself."""

    source_node: str | None = None
    """Where the guest came from."""
    target_node: str | None = None
    """Where it goes."""
    source_pod: str | None = None
    """The guest's pod on the source."""
    target_pod: str | None = None
    """The guest's pod on the target: the reservation of memory and CPU there."""
    migration_pod: str | None = None
    """The pod whose process moves the guest; `kubectl logs` shows its output."""
    start_timestamp: Time | None = None
    """When the target was reserved and the process ordered."""
    end_timestamp: Time | None = None
    """When the outcome was known."""
    target_node_domain_ready_timestamp: Time | None = None
    """When the guest began to run on the target."""
    mode: Mode | None = None
    """PreCopy, PostCopy or Paused."""
    completed: bool = False
    """The move is over, whatever its outcome."""
    failed: bool = False
    """The guest was not moved."""
    abort_requested: bool = False
    """It was to be stopped before it was over: deleted, cancelled, past its deadline, or its VirtualMachine deleted."""
    abort_status: AbortStatus | None = None
    """What became of that wish: Aborting, Succeeded, or Failed when it came too late."""
    failure_reason: str | None = None
    """Why it failed: the reason, libvirt's own words, and what would help."""
    failure_class: FailureClass | None = None
    """Whose fault it is: Host, Path, Guest or Configuration. Unset when it was stopped because somebody wished so."""
    failure_help: str | None = None
    """What would help."""
    libvirt_code: int | None = None
    """libvirt's number of the error that ended the copy (virErrorNumber), where there was one."""
    libvirt_text: str | None = None
    """libvirt's words for that error."""
    migration_uid: str | None = None
    """The Migration's uid, as it stands in the guest's metadata on both hosts."""
    attempt: int | None = None
    """Which attempt this is, from 1."""
    downtime_ms: int | None = None
    """How long the guest was stopped for the switch-over, as libvirt measured it."""
    autostart: bool | None = None
    """An adopted guest was to start with its host: that flag was taken off the source before the move, and is set on the
    target after it, or put back when the guest stays."""
    migration_configuration: MigrationConfiguration | None = None
    """The options as they were resolved."""
    migration_policy_name: str | None = None
    """The MigrationPolicy that had a part in them."""
    encrypted: bool | None = None
    """Whether the stream between the two hosts is encrypted."""


class MigrationProgress(Shape):
    """How far the copy is; renewed at least once a second while it runs. Bytes, and bytes per second."""

    percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of the data that need not be sent any more; never goes down."""
    data_total_bytes: int = 0
    """What the guest's memory and copied disks amount to."""
    data_processed_bytes: int = 0
    """What was sent so far, pages that were sent again included."""
    data_remaining_bytes: int = 0
    """What is still to be sent, as far as the guest does not write on."""
    memory_bytes_per_second: int = 0
    """How fast memory is sent."""
    dirty_bytes_per_second: int = 0
    """How fast the guest writes to memory that must then be sent again."""
    iteration: int = 0
    """How often the guest's memory has been gone through."""
    elapsed_ms: int = 0
    """Since the copy began."""
    cpu_throttle_percent: int | None = None
    """Share of their time that the guest's CPUs are held back, where auto-converge had to."""
    post_copy_requests: int | None = None
    """Pages that the guest has waited for on the target, in post-copy."""
    eta_seconds: int | None = None
    """How long it will take at this rate; unset while that cannot be said."""


class MigrationForecast(Shape):
    """How the move would go, as far as earlier moves tell. Bytes, and bytes per second."""

    bytes: int = 0
    """What would be sent, pages that are sent again included."""
    bytes_per_second: int | None = None
    """How fast; unset while no move was measured."""
    dirty_bytes_per_second: int | None = None
    """How fast the guest writes to its memory, as its last move showed."""
    seconds: int | None = None
    """How long it would take; of one that would not converge, after how long it would be given up."""
    downtime_ms: int | None = None
    """How long the guest would be stopped for the switch-over."""
    converges: bool | None = None
    """Whether the copy would become small enough for the switch-over in time."""
    basis: str = ""
    """What all this was taken from."""


class MigrationStatus(Shape):
    """How the move goes."""

    phase: Phase = Phase.NEW
    """Empty, Pending, Scheduling, Running, Succeeded or Failed."""
    instance: str | None = None
    """uid of the VirtualMachine that is moved."""
    conditions: Annotated[list[MigrationCondition], map_by("type")] = Field(default_factory=list)
    """What was observed, with reasons."""
    phase_transition_timestamps: Annotated[list[PhaseTransition], map_by("phase")] = Field(default_factory=list)
    """When each phase began."""
    migration_state: MigrationState | None = None
    """What is known about the move itself; from the moment that a target was reserved, or it failed."""
    progress: MigrationProgress | None = None
    """How far the copy is."""
    forecast: MigrationForecast | None = None
    """How the move would go. Answered by a dry run (`kubectl create --dry-run=server -o yaml`) alone."""


def _dig(document: Document, *path: str) -> Any:
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _percent(document: Document) -> str | None:
    percent = _dig(document, "status", "progress", "percent")
    return None if percent is None else f"{percent}%"


def _downtime(document: Document) -> str | None:
    downtime = _dig(document, "status", "migrationState", "downtimeMs")
    return None if downtime is None else f"{downtime}ms"


def _duration(document: Document) -> str | None:
    """Known only at the end: a column sees the object, not the clock."""
    start = _dig(document, "status", "migrationState", "startTimestamp")
    end = _dig(document, "status", "migrationState", "endTimestamp")
    if not start or not end:
        return None
    return f"{(datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds():.1f}s"


def _reason(document: Document) -> str | None:
    """Why it failed; before that, why it waits."""
    conditions = _dig(document, "status", "conditions") or []
    said = {condition.get("type"): condition for condition in conditions}
    for type_, status in (
        (ConditionType.FAILED, "True"),
        (ConditionType.RESOLVED, "False"),
        (ConditionType.HELD, "True"),
        (ConditionType.RETRYING, "True"),
        (ConditionType.SCHEDULED, "False"),
    ):
        condition = said.get(type_)
        if condition and condition.get("status") == status:
            return str(condition.get("reason") or "") or None
    return None


_IMMUTABLE = (
    "selector",
    "nodeSelector",
    "priority",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
)


def _check_create(document: Document) -> Iterator[FieldError]:
    yield from _word_problems({}, document)
    yield from label_problems("spec.nodeSelector", _dig(document, "spec", "nodeSelector"))
    yield from option_problems("spec.options", _dig(document, "spec", "options") or {})


def _check_update(old: Document, new: Document) -> Iterator[FieldError]:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    for field in _IMMUTABLE:
        if before.get(field) != after.get(field):
            help_ = "field is immutable: delete this Migration and create another"
            yield invalid(f"spec.{field}", after.get(field), help_)
    yield from _option_problems(before.get("options") or {}, after.get("options") or {})
    yield from _word_problems(old, new)
    yield from _cancel_problems(old, bool(before.get("cancel")), bool(after.get("cancel")), after.get("cancel"))


def _option_problems(before: Document, after: Document) -> Iterator[FieldError]:
    if fixed(before) != fixed(after):
        yield invalid(
            "spec.options",
            after,
            f"only {' and '.join(CHANGEABLE)} can be changed: delete this Migration and create another",
        )
    if before != after:
        yield from option_problems("spec.options", after)


def _word_problems(old: Document, new: Document) -> Iterator[FieldError]:
    """Said before there is a hold it would decide one that nobody has seen yet."""
    path = ("metadata", "annotations", names.RESOLVE)
    given = _dig(new, *path)
    if given is None or given == _dig(old, *path):
        return
    where = f"metadata.annotations[{names.RESOLVE}]"
    if given not in set(Word):
        yield invalid(where, given, "must be source, target or lost: where the operator says that the guest is")
    elif not is_held(old):
        yield forbidden(where, "the Migration is not held (condition Held): there is nothing to resolve")


def is_held(migration: Document) -> bool:
    """Nobody knows where its guest is."""
    conditions = _dig(migration, "status", "conditions") or []
    return any(c.get("type") == ConditionType.HELD and c.get("status") == "True" for c in conditions)


def _cancel_problems(old: Document, before: bool, after: bool, given: Any) -> Iterator[FieldError]:
    if before and not after:
        yield invalid("spec.cancel", given, "cannot be taken back: create another Migration when this one is over")
    phase = _dig(old, "status", "phase") or Phase.NEW
    if after and not before and phase in FINAL:
        yield forbidden("spec.cancel", f"the Migration is over ({phase}): there is nothing left to cancel")


MIGRATION: Kind[MigrationSpec, MigrationStatus] = Kind(
    name="Migration",
    plural="migrations",
    served=(KUBEVIRT,),
    spec=MigrationSpec,
    status=MigrationStatus,
    description="A Migration is a job that moves a running VirtualMachine from one node to another.",
    short_names=("mig",),
    dns_label=True,
    columns=(
        Column("VM", "spec.selector.name", description="The VirtualMachine that is moved."),
        Column("Phase", "status.phase", description="How far it is."),
        Column("Source", "status.migrationState.sourceNode", description="Where the guest came from."),
        Column("Target", "status.migrationState.targetNode", description="Where it goes."),
        Column("Progress", _percent, description="Share of the data that need not be sent any more."),
        AGE,
        Column("Mode", "status.migrationState.mode", priority=1, description="How the memory is moved."),
        Column(
            "Downtime", _downtime, priority=1, description="How long the guest was stopped, as libvirt measured it."
        ),
        Column("Duration", _duration, priority=1, description="From the start to the outcome."),
        Column("Reason", _reason, priority=1, description="Why it failed, or why it waits."),
    ),
    selectable=(
        "spec.selector.name",
        "status.phase",
        "status.migrationState.sourceNode",
        "status.migrationState.targetNode",
    ),
    finalizers=(names.MIGRATION_FINALIZER,),
    previewed=True,
    check_create=_check_create,
    check_update=_check_update,
)
