"""What is known of a guest that is being moved, and what may be concluded: the words of the table in `location`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.hypervisor.base import Domain, Job, Reason, State
from app.kinds.migration import Word


class Verdict(StrEnum):
    """Where the guest is, as far as two hosts can tell."""

    IN_PROGRESS = "in-progress"
    """libvirt still works on it; or one host is too busy to say."""
    SWITCHOVER = "switchover"
    """The source is paused and the target takes over: a matter of seconds, in which both may look alive."""
    STALE_SOURCE = "stale-source"
    """The guest runs on the target, and libvirt on the source waits in vain to hear it: it would resume its copy in the end, and
    the guest would run twice. That copy is ended first."""
    POST_COPY = "post-copy"
    """The guest runs on the target and still fetches memory: nothing may end the source."""
    BROKEN = "broken"
    """Post-copy broke: neither host alone has the whole guest. It is recovered; the source is never resumed or ended."""
    ON_SOURCE = "on-source"
    """Failed, never started or cancelled. The guest is where it was."""
    ON_TARGET = "on-target"
    """Succeeded."""
    ENDED_ON_SOURCE = "ended-on-source"
    """The guest ended by itself before it moved."""
    ENDED_ON_TARGET = "ended-on-target"
    """Succeeded: it moved, and ended there."""
    ORPHAN_INCOMING = "orphan-incoming"
    """A copy that never ran was left on the target; when it is gone, ask again."""
    RESUME_SOURCE = "resume-source"
    """The move broke after the source was paused, and the target has nothing: the source's copy is the guest."""
    HOLD = "hold"
    """Nobody can know. Ask again later; only an operator or a returning host can settle it."""
    LOST = "lost"
    """Neither host has it: ask all others by UUID before saying so."""
    SPLIT = "split"
    """Both copies run or have run: alarm. Ending either is for a human."""


class Action(StrEnum):
    """What must happen before both hosts are asked again."""

    NONE = "none"
    WAIT = "wait"
    DESTROY_TARGET = "destroy-target"
    """Of a copy that does not run: `destroy(…, unless_running=True)`."""
    DESTROY_SOURCE = "destroy-source"
    """Of a copy that does not run: `destroy(…, unless_running=True)`."""
    RESUME_SOURCE = "resume-source"
    RESUME_TARGET = "resume-target"
    """Of a copy that has arrived stopped, and waits."""
    RECOVER = "recover"
    """Go on with the post-copy that broke; again, if that fails."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the hosts cannot tell of this migration. The defaults are the careful ones."""

    migration: str
    """Its UID, as written in the guest's mark."""
    persist_dest: bool = False
    """The call was made with PERSIST_DEST: a guest that arrived and ended left a definition behind."""
    nowhere_else: bool = False
    """Every other host was asked and none knows the UUID."""
    target_before: bool = False
    """The target had a definition of that UUID before the call."""
    elsewhere: bool = False
    """Another host knows the UUID."""
    arrived: bool = False
    """The guest was seen running on the target."""
    source_off: bool = False
    """The operator has declared the source to be off and fenced. Believed only while it does not answer."""
    target_off: bool = False
    """The same of the target."""
    word: Word | None = None
    """Where the operator says that the guest is."""
    overdue: bool = False
    """The guest was seen to run on the target for longer than a switch-over takes to end."""
    idle: bool = False
    """The source has had no job for longer than a switch-over takes: nothing comes to the target from it any more."""
    left: bool = False
    """The source said that it ended its copy because the guest had moved: it may forget that."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict, what to do about it, and why, for people."""

    verdict: Verdict
    action: Action
    why: str
    target_free: bool = False
    """The target answered and holds no active copy: its reservation may go if the guest is not there."""
    refused: str = ""
    """The evidence against the operator's word; empty where there is none, or nothing to be said about."""
    told: bool = False
    """Not by two hosts' evidence alone: why it is so belongs into the outcome."""


RUNS = frozenset({State.RUNNING, State.SHUTTING_DOWN})
OFF = frozenset({State.ABSENT, State.SHUTOFF})
HELD = frozenset({Verdict.HOLD, Verdict.SPLIT, Verdict.BROKEN})
"""Nobody but the operator, or a host that comes back, can say more."""
NEVER_RAN = frozenset({Reason.MIGRATION, Reason.STARTING_UP})
POST_COPY = frozenset({Reason.POSTCOPY, Reason.POSTCOPY_FAILED})
ENDED_BY_ITSELF = frozenset({Reason.SHUTDOWN, Reason.CRASHED, Reason.FAILED})

Row = tuple[Verdict, Action, str]

ORPHAN: Row = (
    Verdict.ORPHAN_INCOMING,
    Action.DESTROY_TARGET,
    "a copy that never ran was left on the target",
)


def reason_of(domain: Domain | None) -> Reason | None:
    """Of a copy that is active: an inactive one keeps no post-copy."""
    return domain.reason if domain is not None and domain.state not in OFF else None


def has_job(domain: Domain | None) -> bool:
    """libvirt has jobs for active domains only."""
    return domain is not None and domain.state not in OFF and domain.job is not Job.NONE


def is_busy(domain: Domain) -> bool:
    """libvirt works on it. In a post-copy that broke it keeps the job, and only waits."""
    return has_job(domain) and domain.reason is not Reason.POSTCOPY_FAILED


def never_ran(target: Domain) -> bool:
    return target.state is State.PAUSED and target.reason in NEVER_RAN


def is_marked(target: Domain, facts: Facts) -> bool:
    return target.mark is not None and target.mark.migration == facts.migration


def waits(target: Domain, facts: Facts) -> bool:
    """It arrived stopped, whole, and nobody has started it there: what the source has is as new, or newer."""
    is_stopped = target.state is State.PAUSED and target.reason is Reason.USER and target.job is Job.NONE
    return is_stopped and arrives_stopped(target, facts) and not facts.arrived


def ended_before_it_ran(target: Domain, facts: Facts) -> bool:
    """The remains of a copy that waited, or did not get so far."""
    by_itself = target.reason in (Reason.SHUTDOWN, Reason.CRASHED)
    return target.state is State.SHUTOFF and not by_itself and arrives_stopped(target, facts)


def arrives_stopped(domain: Domain, facts: Facts) -> bool:
    """As this migration's mark says, on either host."""
    return is_marked(domain, facts) and domain.mark is not None and domain.mark.stopped


def was_brought(target: Domain, facts: Facts) -> bool:
    """The remains of a guest that this migration brought there."""
    return target.state in (State.SHUTOFF, State.CRASHED) and is_marked(target, facts) and not facts.target_before


def hold(why: str) -> Row:
    return (Verdict.HOLD, Action.NONE, why)


def split(why: str) -> Row:
    return (Verdict.SPLIT, Action.NONE, why)
