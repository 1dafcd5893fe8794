"""What the agent of a node does next for a VirtualMachine: the table. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.controllers.virtualmachine.decide import (
    Away,
    Decision,
    Destroy,
    Forget,
    Hold,
    Leave,
    PowerOff,
    Release,
    Report,
    Seen,
    Start,
    Undefine,
    decide,
)
from app.hypervisor.base import Domain, Job, Mark, Reason, State
from app.kinds.virtualmachine import Phase
from app.kinds.virtualmachine import Reason as Why

OURS = Mark(store="here")
THEIRS = Mark(store="elsewhere")
AWAY = Away("no route to host")
OFF_FOR_GOOD = Away("no route to host", is_off=True)


def domain(state: State, reason: Reason = Reason.OTHER, mark: Mark | None = OURS) -> Domain:
    return Domain(UUID(int=1), state, reason, mark=mark)


def seen(phase: Phase, host: Domain | Away, **fields: Any) -> Seen:
    return Seen(phase, host, **{"store": "here", "now": 100.0, **fields})


ABSENT = domain(State.ABSENT, mark=None)
RUNNING = domain(State.RUNNING)
PAUSED = domain(State.PAUSED)
OFF = domain(State.SHUTOFF)
BUSY = replace(RUNNING, job=Job.OTHER, mark=None)


def off(reason: Reason) -> Domain:
    return domain(State.SHUTOFF, reason)


def says(phase: Phase, reason: Why, paused: bool = False) -> tuple[Phase, Why, bool]:
    return phase, reason, paused


LIVES: dict[str, tuple[Seen, Decision | tuple[Phase, Why, bool]]] = {
    "one that has no node yet is the scheduler's": (seen(Phase.PENDING, ABSENT), Leave()),
    "a finished one is never touched": (seen(Phase.SUCCEEDED, RUNNING), Leave()),
    "a failed one is not started again": (seen(Phase.FAILED, ABSENT), Leave()),
    "a scheduled one is started": (seen(Phase.SCHEDULED, ABSENT), Start()),
    "a scheduled one is not started while a former agent's start may be on its way": (
        seen(Phase.SCHEDULED, ABSENT, quiet_until=101.0),
        Leave(again_after_s=1.0),
    ),
    "one that was defined by an agent that died is started": (seen(Phase.SCHEDULED, OFF), Start()),
    "one that runs already is only reported": (
        seen(Phase.SCHEDULED, RUNNING),
        says(Phase.RUNNING, Why.GUEST_RUNNING),
    ),
    "one that ran and ended before it was reported is not started twice": (
        seen(Phase.SCHEDULED, off(Reason.SHUTDOWN)),
        says(Phase.SUCCEEDED, Why.GUEST_SHUT_DOWN),
    ),
    "nothing is decided while its host is too busy to say whose it is": (
        seen(Phase.SCHEDULED, BUSY),
        Leave(again_after_s=1.0),
    ),
    "nothing is started while its host does not answer": (seen(Phase.SCHEDULED, AWAY), Leave()),
    "a foreign domain with its UUID is not touched": (
        seen(Phase.SCHEDULED, domain(State.RUNNING, mark=THEIRS)),
        says(Phase.FAILED, Why.DOMAIN_REFUSED),
    ),
    "running": (seen(Phase.RUNNING, RUNNING), says(Phase.RUNNING, Why.GUEST_RUNNING)),
    "paused is Running, with a condition": (
        seen(Phase.RUNNING, PAUSED),
        says(Phase.RUNNING, Why.GUEST_PAUSED, paused=True),
    ),
    "powered off": (seen(Phase.RUNNING, off(Reason.SHUTDOWN)), says(Phase.SUCCEEDED, Why.GUEST_SHUT_DOWN)),
    "crashed": (seen(Phase.RUNNING, off(Reason.CRASHED)), says(Phase.FAILED, Why.GUEST_CRASHED)),
    "destroyed": (seen(Phase.RUNNING, off(Reason.DESTROYED)), says(Phase.FAILED, Why.GUEST_DESTROYED)),
    "host rebooted": (seen(Phase.RUNNING, OFF), says(Phase.FAILED, Why.HOST_RESTARTED)),
    "definition removed": (seen(Phase.RUNNING, ABSENT), says(Phase.FAILED, Why.GUEST_VANISHED)),
    "moved away past Drover is not called dead": (
        seen(Phase.RUNNING, off(Reason.MIGRATED)),
        says(Phase.UNKNOWN, Why.GUEST_VANISHED),
    ),
    "lost by its migration it is": (
        seen(Phase.RUNNING, off(Reason.MIGRATED), lost="Migration m lost the guest"),
        says(Phase.FAILED, Why.GUEST_VANISHED),
    ),
    "given up, nobody has ended it past Drover": (
        seen(Phase.RUNNING, off(Reason.DESTROYED), lost="Migration m lost the guest"),
        says(Phase.FAILED, Why.GUEST_VANISHED),
    ),
    "but found on another host it is not": (
        seen(Phase.RUNNING, off(Reason.MIGRATED), lost="Migration m lost the guest", elsewhere=("node1",)),
        says(Phase.UNKNOWN, Why.GUEST_MOVED),
    ),
    "found on another host it is not called dead": (
        seen(Phase.RUNNING, ABSENT, elsewhere=("node1",)),
        says(Phase.UNKNOWN, Why.GUEST_MOVED),
    ),
    "nor moved away to one of Drover's": (
        seen(Phase.RUNNING, off(Reason.MIGRATED), elsewhere=("node1",)),
        says(Phase.UNKNOWN, Why.GUEST_MOVED),
    ),
    "nor while a host that may have it is silent": (
        seen(Phase.RUNNING, ABSENT, silent=("node1",)),
        says(Phase.UNKNOWN, Why.GUEST_VANISHED),
    ),
    "an adopted one runs again after its end": (
        seen(Phase.SUCCEEDED, domain(State.RUNNING, mark=None), adopted=True),
        says(Phase.RUNNING, Why.GUEST_RUNNING),
    ),
    "an adopted one that is off stays so": (
        seen(Phase.RUNNING, domain(State.SHUTOFF, Reason.SHUTDOWN, None), adopted=True),
        says(Phase.SUCCEEDED, Why.GUEST_SHUT_DOWN),
    ),
    "host declared to be off": (seen(Phase.UNKNOWN, OFF_FOR_GOOD), says(Phase.FAILED, Why.NODE_LOST)),
    "an adopted one's too": (seen(Phase.RUNNING, OFF_FOR_GOOD, adopted=True), says(Phase.FAILED, Why.NODE_LOST)),
    "one that was to start there as well": (seen(Phase.SCHEDULED, OFF_FOR_GOOD), says(Phase.FAILED, Why.NODE_LOST)),
    "but one that moves is its migration's": (seen(Phase.MIGRATING, OFF_FOR_GOOD, moving=True), Leave()),
    "host away": (seen(Phase.RUNNING, AWAY), says(Phase.UNKNOWN, Why.NODE_UNREACHABLE)),
    "host back": (seen(Phase.UNKNOWN, RUNNING), says(Phase.RUNNING, Why.GUEST_RUNNING)),
    "host back without the guest": (seen(Phase.UNKNOWN, OFF), says(Phase.FAILED, Why.HOST_RESTARTED)),
    "one that moves is its migration's": (seen(Phase.RUNNING, ABSENT, moving=True), Leave()),
    "one that is Migrating is its migration's": (seen(Phase.MIGRATING, ABSENT), Leave()),
}


@pytest.mark.parametrize("case", LIVES.values(), ids=LIVES.keys())
def test_a_guest_is_followed(case: tuple[Seen, Decision | tuple[Phase, Why, bool]]) -> None:
    given_, expected = case

    decision = decide(given_)

    told = (decision.phase, decision.reason, decision.paused) if isinstance(decision, Report) else decision
    assert expected == told


ENDS: dict[str, tuple[Seen, type[Decision]]] = {
    "waits for a migration that has it in hand": (seen(Phase.MIGRATING, RUNNING, moving=True), Leave),
    "waits for a migration to be cancelled": (seen(Phase.RUNNING, RUNNING, cancelling=True), Hold),
    "does not wait for a host that was declared to be off": (seen(Phase.UNKNOWN, OFF_FOR_GOOD), Forget),
    "waits for a host that does not answer": (seen(Phase.UNKNOWN, AWAY), Hold),
    "waits until a former agent can do nothing more": (seen(Phase.RUNNING, RUNNING, quiet_until=101.0), Hold),
    "asks the guest first": (seen(Phase.RUNNING, RUNNING), PowerOff),
    "asks a paused guest too": (seen(Phase.RUNNING, PAUSED), PowerOff),
    "gives it its grace": (seen(Phase.RUNNING, RUNNING, end_at=101.0), Leave),
    "then ends it": (seen(Phase.RUNNING, RUNNING, end_at=100.0), Destroy),
    "undefines what is off": (seen(Phase.RUNNING, OFF), Undefine),
    "ends what crashed and was preserved": (seen(Phase.RUNNING, domain(State.CRASHED)), Destroy),
    "waits for a host that is too busy to say whose it is": (seen(Phase.RUNNING, BUSY), Hold),
    "lets the object go when nothing is left": (seen(Phase.RUNNING, ABSENT), Forget),
    "a finished one too": (seen(Phase.FAILED, ABSENT), Forget),
    "leaves a foreign domain alone": (seen(Phase.RUNNING, domain(State.RUNNING, mark=THEIRS)), Forget),
    "lets an adopted guest go": (seen(Phase.RUNNING, domain(State.RUNNING, mark=None), adopted=True), Release),
    "an adopted guest that is off too": (seen(Phase.SUCCEEDED, OFF, adopted=True), Release),
    "not during a job": (
        seen(Phase.RUNNING, replace(RUNNING, job=Job.MIGRATION_OUT), adopted=True),
        Hold,
    ),
    "never writes over another Drover's mark": (
        seen(Phase.RUNNING, domain(State.RUNNING, mark=THEIRS), adopted=True),
        Forget,
    ),
    "lets the object go once the adopted guest is released": (
        seen(Phase.RUNNING, domain(State.RUNNING, mark=Mark(store="here", released=True)), adopted=True),
        Forget,
    ),
    "leaves a released domain alone": (
        seen(Phase.RUNNING, domain(State.RUNNING, mark=Mark(store="here", released=True))),
        Forget,
    ),
}


@pytest.mark.parametrize("case", ENDS.values(), ids=ENDS.keys())
def test_a_deletion(case: tuple[Seen, type[Decision]]) -> None:
    given_, expected = case

    assert expected is type(decide(replace(given_, deleting=True)))


HOSTS = st.one_of(
    st.just(AWAY),
    st.builds(domain, st.sampled_from(State), st.sampled_from(Reason), st.sampled_from([OURS, THEIRS, None])),
)
ANYTHING = st.builds(
    Seen,
    phase=st.sampled_from(Phase),
    host=HOSTS,
    store=st.just("here"),
    now=st.just(100.0),
    moving=st.booleans(),
    deleting=st.booleans(),
    cancelling=st.booleans(),
    adopted=st.booleans(),
    end_at=st.sampled_from([None, 99.0, 101.0]),
    quiet_until=st.sampled_from([0.0, 200.0]),
)


@given(ANYTHING)
def test_no_verb_harms_whatever_was_seen(given_: Seen) -> None:
    decision = decide(given_)

    if isinstance(decision, Start | PowerOff | Destroy | Undefine):
        assert not given_.moving
        assert isinstance(given_.host, Domain)
    if isinstance(decision, Destroy | Undefine | PowerOff):
        assert isinstance(given_.host, Domain)
        assert given_.deleting and given_.host.mark == OURS and given_.now >= given_.quiet_until
    if isinstance(decision, Undefine):
        assert isinstance(given_.host, Domain)
        assert given_.host.state is State.SHUTOFF
    if isinstance(decision, Start):
        assert isinstance(given_.host, Domain)
        assert given_.phase is Phase.SCHEDULED and given_.host.state in (State.ABSENT, State.SHUTOFF)
    if given_.adopted:
        assert not isinstance(decision, Start | PowerOff | Destroy | Undefine)
    if given_.phase in (Phase.SUCCEEDED, Phase.FAILED) and not given_.deleting and not given_.adopted:
        assert isinstance(decision, Leave)
