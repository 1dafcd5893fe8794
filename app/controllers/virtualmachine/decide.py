"""What the agent of a node does next for one VirtualMachine of it, judged only from what was seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from app.hypervisor.base import Domain, Job, State
from app.hypervisor.base import Reason as Why
from app.kinds.virtualmachine import Phase, Reason

_ENDED: dict[Why, tuple[Phase, Reason, str]] = {
    Why.SHUTDOWN: (Phase.SUCCEEDED, Reason.GUEST_SHUT_DOWN, "the guest powered itself off"),
    Why.CRASHED: (Phase.FAILED, Reason.GUEST_CRASHED, "the guest or its emulator crashed"),
    Why.DESTROYED: (Phase.FAILED, Reason.GUEST_DESTROYED, "somebody ended the guest on its host, past Drover"),
    Why.FAILED: (Phase.FAILED, Reason.GUEST_CRASHED, "the guest's emulator could not go on"),
}
_VANISHED = (
    Phase.FAILED,
    Reason.GUEST_VANISHED,
    "its host answers and does not know the guest any more: the definition was removed",
)
_LOST = (
    Phase.FAILED,
    Reason.NODE_LOST,
    "its host does not answer and was declared to be off (node.kubernetes.io/out-of-service): the guest is lost",
)
# libvirt tells no boot id: that it knows no reason is all that a restart leaves behind.
_RESTARTED = (
    Phase.FAILED,
    Reason.HOST_RESTARTED,
    "the guest is off and libvirt knows no reason, as after a restart of its host",
)


@dataclass(frozen=True, slots=True)
class Away:
    """The host does not answer; libvirt's words."""

    text: str
    is_off: bool = False
    """The operator has declared that it is off and cannot come back by itself."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that the decision needs. Times in seconds of one clock."""

    phase: Phase
    host: Domain | Away
    store: str
    """This store's id: a domain with another mark is not ours to touch."""
    now: float = 0.0
    moving: bool = False
    """A migration has the guest in hand: nobody else touches it."""
    deleting: bool = False
    cancelling: bool = False
    """An unfinished Migration of the VM still has to go before the guest may be ended."""
    end_at: float | None = None
    """When the guest is ended without asking; None while it has not been asked to power off."""
    adopted: bool = False
    """Its guest ran before Drover knew it: it follows its domain, is never started or ended, and its phases are not final."""
    elsewhere: tuple[str, ...] = ()
    """Other nodes whose hosts run the guest; asked only when it is not here."""
    silent: tuple[str, ...] = ()
    """Other nodes whose hosts do not answer, and may have the guest; asked only when it is not here."""
    lost: str = ""
    """What the Migration that left the remains here said, where it found the guest on no host; empty where it did not."""
    quiet_until: float = 0.0
    """Before then the guest is neither started, ended nor forgotten: a former agent's call may still be on its way."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing to do until something changes, or for so long."""

    again_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Define and start the guest."""


@dataclass(frozen=True, slots=True)
class Report:
    """Say how the guest is."""

    phase: Phase
    reason: Reason
    message: str
    paused: bool = False


@dataclass(frozen=True, slots=True)
class PowerOff:
    """Ask the guest to power off, and give it the grace period."""


@dataclass(frozen=True, slots=True)
class Destroy:
    """End the guest without asking it."""


@dataclass(frozen=True, slots=True)
class Undefine:
    """Forget the inactive guest's definition."""


@dataclass(frozen=True, slots=True)
class Release:
    """Note in the adopted guest's metadata that it is let go, so that it is not adopted again."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing of the guest is left here: its pods and the object may go."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The deletion cannot go on; say why, and look again."""

    message: str
    again_after_s: float


Decision = Leave | Start | Report | PowerOff | Destroy | Undefine | Release | Forget | Hold


def decide(seen: Seen) -> Decision:
    """One step. A guest in the hands of a migration is left alone, whatever else is wanted."""
    if seen.moving:
        return Leave(again_after_s=1.0 if seen.deleting else None)
    if seen.deleting:
        return _end(seen)
    if seen.adopted:
        return _follow(seen)
    match seen.phase:
        case Phase.NEW | Phase.PENDING | Phase.SCHEDULING | Phase.MIGRATING | Phase.SUCCEEDED | Phase.FAILED:
            return Leave()
        case Phase.SCHEDULED:
            return _begin(seen)
        case Phase.RUNNING | Phase.UNKNOWN:
            return _follow(seen)
        case unhandled:
            assert_never(unhandled)


def is_ours(domain: Domain, store: str) -> bool:
    """The domain carries this store's mark, and was not released from it."""
    return domain.mark is not None and domain.mark.store == store and not domain.mark.released


def is_told(domain: Domain) -> bool:
    """A host whose workers are all busy tells the state alone: a mark that it did not tell is not a missing one."""
    return domain.state is State.ABSENT or domain.mark is not None or domain.job is not Job.OTHER


def _begin(seen: Seen) -> Decision:
    """
    The host is asked before anything is started. Absent: it was never defined. Off for a reason that says that it ran:
    it is over, and not started a second time. Off without such a reason: whoever defined it died before starting it.
    """
    if isinstance(seen.host, Away):
        return Report(*_LOST) if seen.host.is_off else Leave()
    if seen.host.state is State.ABSENT:
        return _start(seen)
    if not is_told(seen.host):
        return Leave(again_after_s=1.0)
    if not is_ours(seen.host, seen.store):
        message = "a domain with this UUID that is not Drover's is on the host"
        return Report(Phase.FAILED, Reason.DOMAIN_REFUSED, message)
    if seen.host.state is State.SHUTOFF and seen.host.reason not in _ENDED:
        return _start(seen)
    return _follow(seen)


def _start(seen: Seen) -> Start | Leave:
    """A former agent's start that came late could hit a guest that has moved away meanwhile, and double it."""
    return Leave(again_after_s=seen.quiet_until - seen.now) if seen.now < seen.quiet_until else Start()


def _follow(seen: Seen) -> Decision:
    if isinstance(seen.host, Away) and seen.host.is_off:
        return Report(*_LOST)
    if isinstance(seen.host, Away):
        return Report(Phase.UNKNOWN, Reason.NODE_UNREACHABLE, f"its host does not answer: {seen.host.text}")
    match seen.host.state:
        case State.RUNNING | State.SHUTTING_DOWN:
            return Report(Phase.RUNNING, Reason.GUEST_RUNNING, "the guest runs")
        case State.PAUSED:
            return Report(Phase.RUNNING, Reason.GUEST_PAUSED, "the guest is paused", paused=True)
        case State.CRASHED:
            return Report(*_ENDED[Why.CRASHED])
        case State.SHUTOFF:
            return _off(seen, seen.host)
        case State.ABSENT:
            return _gone(seen) or Report(*_VANISHED)
        case unhandled:
            assert_never(unhandled)


def may_be_elsewhere(domain: Domain) -> bool:
    """What the host says leaves open that somebody moved the guest away: other hosts are asked."""
    return domain.state is State.ABSENT or (domain.state is State.SHUTOFF and domain.reason is Why.MIGRATED)


def _off(seen: Seen, domain: Domain) -> Report:
    if seen.lost:
        return _gone(seen) or Report(Phase.FAILED, Reason.GUEST_VANISHED, seen.lost)
    if domain.reason is Why.MIGRATED:
        message = "the guest was moved away past Drover: nobody knows where it is"
        return _gone(seen) or Report(Phase.UNKNOWN, Reason.GUEST_VANISHED, message)
    return Report(*_ENDED.get(domain.reason, _RESTARTED))


def _gone(seen: Seen) -> Report | None:
    """Unknown until the agent of the node where the guest is has taken it on, or every host has said that it has it not."""
    if seen.elsewhere:
        message = f"somebody moved the guest to {', '.join(seen.elsewhere)} past Drover"
        return Report(Phase.UNKNOWN, Reason.GUEST_MOVED, message)
    if seen.silent:
        message = f"the guest is not here any more, and {', '.join(seen.silent)}, which may have it, does not answer"
        return Report(Phase.UNKNOWN, Reason.GUEST_VANISHED, message)
    return None


def _end(seen: Seen) -> Decision:
    if seen.cancelling:
        return Hold("its migration is being cancelled", 1.0)
    if isinstance(seen.host, Away) and seen.host.is_off:
        return Forget()
    if isinstance(seen.host, Away):
        return Hold(f"its host must be asked and does not answer: {seen.host.text}", 5.0)
    if seen.now < seen.quiet_until:
        return Hold("its host's former agent may still be at work", seen.quiet_until - seen.now)
    if not is_told(seen.host):
        return Hold("its host is too busy to say whose guest it is", 1.0)
    if seen.adopted:
        return _let_go(seen, seen.host)
    if seen.host.state is State.ABSENT or not is_ours(seen.host, seen.store):
        return Forget()
    return _end_ours(seen, seen.host.state)


def _let_go(seen: Seen, domain: Domain) -> Decision:
    """Neither the guest nor its definition is touched. Another Drover's mark is not overwritten."""
    if domain.state is State.ABSENT or (domain.mark is not None and not is_ours(domain, seen.store)):
        return Forget()
    return (
        Release()
        if domain.job is Job.NONE
        else Hold("libvirt has a job for the guest, which cannot be marked now", 2.0)
    )


def _end_ours(seen: Seen, state: State) -> Decision:
    """A crashed guest that libvirt preserved is still active, and deaf."""
    if state is State.SHUTOFF:
        return Undefine()
    if state is State.CRASHED:
        return Destroy()
    if seen.end_at is None:
        return PowerOff()
    if seen.now < seen.end_at:
        return Leave(again_after_s=seen.end_at - seen.now)
    return Destroy()
