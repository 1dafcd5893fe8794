"""The exit codes of a migration's process: what each means for the guest, for the Migration, and what would help."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from app.kinds.migration import Reason


class ExitCode(IntEnum):
    """Given only after both hosts were asked. Every other status says that the outcome is unknown."""

    MOVED = 0
    FAILED = 64
    CANCELLED = 65
    INCOMPATIBLE = 66
    TARGET_UNREACHABLE = 67
    NAME_TAKEN = 68
    BUSY = 69
    GUEST_STOPPED = 70
    SOURCE_UNREACHABLE = 71
    LOST = 72
    NOT_CONVERGING = 73
    TRANSFER_STUCK = 74
    NODE_LOST = 75
    NOT_STARTED = 78
    """Of no process: no worker took the run."""


class Where(StrEnum):
    """Where the guest is after that outcome."""

    SOURCE = "source"
    TARGET = "target"
    NOWHERE = "nowhere"
    """It ended; its pod is still the one on the source."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table."""

    reason: Reason
    """In the Migration's condition Succeeded or Failed."""
    where: Where
    meaning: str
    help: str
    """What would help; empty for success."""


NOT_CONVERGING_HELP = (
    "set allowAutoConverge, allowPostCopy or allowWorkloadDisruption in spec.options, raise maxDowntimeMs, bandwidthPerMigration"
    " or completionTimeoutPerGiB there, or move it when it is calmer"
)

MEANINGS: dict[ExitCode, Meaning] = {
    ExitCode.MOVED: Meaning(Reason.MOVED, Where.TARGET, "the guest runs on the target", ""),
    ExitCode.FAILED: Meaning(
        Reason.MIGRATION_FAILED,
        Where.SOURCE,
        "the guest was not moved",
        "mend what libvirt's words name and create another Migration",
    ),
    ExitCode.CANCELLED: Meaning(
        Reason.CANCELLED,
        Where.SOURCE,
        "cancelled: the guest stays on its source",
        "create another Migration when it may move",
    ),
    ExitCode.INCOMPATIBLE: Meaning(
        Reason.TARGET_REFUSED, Where.SOURCE, "the target cannot run this guest", "exclude that node with a nodeSelector"
    ),
    ExitCode.TARGET_UNREACHABLE: Meaning(
        Reason.TARGET_UNREACHABLE,
        Where.SOURCE,
        "the target does not answer",
        "see why its libvirt does not answer, or choose another node",
    ),
    ExitCode.NAME_TAKEN: Meaning(
        Reason.TARGET_REFUSED,
        Where.SOURCE,
        "the target has a domain of that name or UUID that is not ours",
        "rename or remove that domain, or choose another node",
    ),
    ExitCode.BUSY: Meaning(
        Reason.MIGRATION_FAILED, Where.SOURCE, "another job of libvirt's holds the guest", "try again when it is over"
    ),
    ExitCode.GUEST_STOPPED: Meaning(
        Reason.GUEST_STOPPED,
        Where.NOWHERE,
        "the guest ended while it was to be moved",
        "the VirtualMachine's conditions say how it ended",
    ),
    ExitCode.SOURCE_UNREACHABLE: Meaning(
        Reason.HOST_UNREACHABLE,
        Where.SOURCE,
        "the source does not answer; nothing was begun",
        "see why its libvirt does not answer",
    ),
    ExitCode.LOST: Meaning(
        Reason.LOST,
        Where.NOWHERE,
        "neither host knows the guest any more",
        "look for the guest's end in the hosts' logs",
    ),
    ExitCode.NOT_CONVERGING: Meaning(
        Reason.NOT_CONVERGING,
        Where.SOURCE,
        "the guest writes to its memory faster than that can be sent",
        NOT_CONVERGING_HELP,
    ),
    ExitCode.TRANSFER_STUCK: Meaning(
        Reason.TRANSFER_STUCK,
        Where.SOURCE,
        "nothing was sent any more",
        "see what holds up the network between the two hosts",
    ),
    ExitCode.NODE_LOST: Meaning(
        Reason.NODE_LOST,
        Where.NOWHERE,
        "the guest was lost with its host, which was declared to be off",
        "create the VirtualMachine again where its disks are reached",
    ),
    ExitCode.NOT_STARTED: Meaning(
        Reason.NO_WORKER,
        Where.SOURCE,
        "no worker took the move on",
        "start `drover work`, or see in its log why it starts no processes",
    ),
}


def known(status: int) -> ExitCode | None:
    """The outcome that this exit status stands for; None when nobody knows and both hosts must be asked."""
    return ExitCode(status) if status in ExitCode._value2member_map_ else None
