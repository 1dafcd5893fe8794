"""Holds that the operator decides: rows for hosts that are off and for his word, and the laws that neither may break."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product

import pytest

from app.controllers.migration.evidence import HELD, OFF, RUNS, Action, Facts, Ruling, Verdict
from app.controllers.migration.location import location
from app.hypervisor.base import Domain, Job, Mark, Reason, State
from app.kinds.migration import Word
from tests.controllers.migration.test_location import (
    ABSENT,
    ARRIVED,
    GUEST,
    IN,
    LEFT,
    OUT,
    STARTED,
    STOPPED,
    SURE,
    UID,
    Seen,
    crashed,
    paused,
    running,
    shutoff,
    waiting,
)

_ALIKE = {Reason.BOOTED, Reason.MIGRATION_CANCELED, Reason.CRASHED}
"""Reasons of which no row says more than of another."""
SOURCE_OFF = replace(SURE, source_off=True)
TARGET_OFF = replace(SURE, target_off=True)
BOTH_OFF = replace(SURE, source_off=True, target_off=True)
LIVES = replace(paused(), persistent=True)
ENDED_WAITING = waiting(State.SHUTOFF, Reason.DESTROYED)
HALF = paused(Reason.POSTCOPY_FAILED, IN)
HALF_LEFT = paused(Reason.POSTCOPY_FAILED, OUT)

FENCED: list[tuple[str, Seen, Seen, Facts, Verdict, Action]] = [
    ("source off, nothing arrived", None, ABSENT, SOURCE_OFF, Verdict.LOST, Action.NONE),
    ("source off, an old definition", None, shutoff(ours=False), SOURCE_OFF, Verdict.LOST, Action.NONE),
    ("source off, an orphan", None, paused(), SOURCE_OFF, Verdict.ORPHAN_INCOMING, Action.DESTROY_TARGET),
    ("source off, a copy that may be whole", None, LIVES, SOURCE_OFF, Verdict.HOLD, Action.NONE),
    ("source off, libvirt still works", None, paused(job=IN), SOURCE_OFF, Verdict.IN_PROGRESS, Action.WAIT),
    ("source off, it had moved", None, ARRIVED, SOURCE_OFF, Verdict.ON_TARGET, Action.NONE),
    ("source off, it had moved, paused", None, paused(Reason.USER), SOURCE_OFF, Verdict.ON_TARGET, Action.NONE),
    ("source off, it waits: the source may have run on", None, waiting(), SOURCE_OFF, Verdict.HOLD, Action.NONE),
    ("source off, moved and ended", None, shutoff(Reason.SHUTDOWN), SOURCE_OFF, Verdict.ENDED_ON_TARGET, Action.NONE),
    ("source off, moved and crashed", None, crashed(), SOURCE_OFF, Verdict.ENDED_ON_TARGET, Action.NONE),
    ("source off, a stranger's remains", None, crashed(ours=False), SOURCE_OFF, Verdict.HOLD, Action.NONE),
    ("source off, half a guest", None, HALF, SOURCE_OFF, Verdict.LOST, Action.DESTROY_TARGET),
    ("source off, half runs", None, running(Reason.POSTCOPY_FAILED), SOURCE_OFF, Verdict.HOLD, Action.NONE),
    ("source off, the target is silent", None, None, SOURCE_OFF, Verdict.HOLD, Action.NONE),
    ("both off", None, None, BOTH_OFF, Verdict.LOST, Action.NONE),
    ("source was off and answers", running(), ABSENT, SOURCE_OFF, Verdict.ON_SOURCE, Action.NONE),
    ("target off, the source runs", running(), None, TARGET_OFF, Verdict.ON_SOURCE, Action.NONE),
    ("target off, the source still works", running(job=OUT), None, TARGET_OFF, Verdict.IN_PROGRESS, Action.WAIT),
    ("target off in the switch-over", paused(), None, TARGET_OFF, Verdict.ON_SOURCE, Action.NONE),
    (
        "target off in the switch-over, it had arrived",
        paused(),
        None,
        replace(TARGET_OFF, arrived=True),
        Verdict.ENDED_ON_TARGET,
        Action.DESTROY_SOURCE,
    ),
    (
        "target off in the switch-over, a third has it",
        paused(),
        None,
        replace(TARGET_OFF, elsewhere=True),
        Verdict.HOLD,
        Action.NONE,
    ),
    ("target off, paused by the user", paused(Reason.USER), None, TARGET_OFF, Verdict.ON_SOURCE, Action.NONE),
    ("target off in post-copy", HALF_LEFT, None, TARGET_OFF, Verdict.ENDED_ON_TARGET, Action.DESTROY_SOURCE),
    ("target off, it had left", LEFT, None, TARGET_OFF, Verdict.ENDED_ON_TARGET, Action.NONE),
    ("target off, it had ended", shutoff(Reason.SHUTDOWN), None, TARGET_OFF, Verdict.ENDED_ON_SOURCE, Action.NONE),
    ("target was off and answers", paused(), ARRIVED, TARGET_OFF, Verdict.ON_TARGET, Action.DESTROY_SOURCE),
]

SAYS_SOURCE, SAYS_TARGET, SAYS_LOST = (replace(SURE, word=word) for word in Word)
RESUMED = (Verdict.RESUME_SOURCE, Action.RESUME_SOURCE)

BELIEVED: list[tuple[str, Seen, Seen, Facts, Verdict, Action]] = [
    ("source, and the target is silent", paused(), None, SAYS_SOURCE, *RESUMED),
    ("source, and the target is off", paused(), None, replace(SAYS_SOURCE, target_off=True), *RESUMED),
    ("source, and others are silent", paused(), ABSENT, replace(SAYS_SOURCE, nowhere_else=False), *RESUMED),
    ("source, and it may never have run there", paused(), shutoff(Reason.FAILED), SAYS_SOURCE, *RESUMED),
    ("source, paused by the user", paused(Reason.USER), None, SAYS_SOURCE, Verdict.ON_SOURCE, Action.NONE),
    ("source, both are silent", None, None, SAYS_SOURCE, Verdict.ON_SOURCE, Action.NONE),
    ("source, it is silent", None, ABSENT, SAYS_SOURCE, Verdict.ON_SOURCE, Action.NONE),
    ("target, it is silent", paused(), None, SAYS_TARGET, Verdict.ON_TARGET, Action.DESTROY_SOURCE),
    ("target, and the source has let go", LEFT, None, SAYS_TARGET, Verdict.ON_TARGET, Action.NONE),
    ("target, both are silent", None, None, SAYS_TARGET, Verdict.ON_TARGET, Action.NONE),
    ("target, paused there", paused(), paused(Reason.USER), SAYS_TARGET, Verdict.ON_TARGET, Action.DESTROY_SOURCE),
    (
        "target, it ended there",
        paused(),
        shutoff(Reason.FAILED),
        SAYS_TARGET,
        Verdict.ENDED_ON_TARGET,
        Action.DESTROY_SOURCE,
    ),
    ("target, it waits there, the source is silent", None, waiting(), SAYS_TARGET, *STARTED),
    ("target, it waits there, the source forgot why", shutoff(), waiting(), SAYS_TARGET, *STARTED),
    ("target, it waits there, the source is off", None, waiting(), replace(SAYS_TARGET, source_off=True), *STARTED),
    ("source, it waited and was ended", None, ENDED_WAITING, SAYS_SOURCE, Verdict.ON_SOURCE, Action.NONE),
    ("lost, both are silent", None, None, SAYS_LOST, Verdict.LOST, Action.NONE),
    ("lost, the source is silent", None, ABSENT, SAYS_LOST, Verdict.LOST, Action.NONE),
    ("lost, two halves", HALF_LEFT, HALF, SAYS_LOST, Verdict.LOST, Action.DESTROY_TARGET),
    ("lost, one half", HALF_LEFT, None, SAYS_LOST, Verdict.LOST, Action.DESTROY_SOURCE),
]

REFUSED: list[tuple[str, Seen, Seen, Facts, str]] = [
    ("source, and it has let go", LEFT, None, SAYS_SOURCE, "the source says shutoff/migrated"),
    ("source, and it does not know it", ABSENT, None, SAYS_SOURCE, "does not know the guest"),
    ("source, and the target had it", paused(), paused(Reason.USER), SAYS_SOURCE, "the target says paused/user"),
    ("source, and it waits there", None, waiting(), SAYS_SOURCE, "the target says paused/user"),
    ("source, and it is off", None, None, replace(SAYS_SOURCE, source_off=True), "declared to be off"),
    ("source, and it left in post-copy", HALF_LEFT, None, SAYS_SOURCE, "the source says paused/postcopy-failed"),
    ("source, and both run", running(), ARRIVED, SAYS_SOURCE, "the source says running/booted"),
    ("source, and a third has it", paused(), None, replace(SAYS_SOURCE, elsewhere=True), "a third host"),
    ("target, and it does not know it", None, ABSENT, SAYS_TARGET, "does not know the guest"),
    ("target, and it never ran there", LEFT, paused(), SAYS_TARGET, "the target says paused/migration"),
    ("target, and it is off", None, None, replace(SAYS_TARGET, target_off=True), "declared to be off"),
    ("target, which lacks memory", HALF_LEFT, None, SAYS_TARGET, "the source says paused/postcopy-failed"),
    ("target, and both run", running(), ARRIVED, SAYS_TARGET, "the source says running/booted"),
    ("lost, and both run", running(), ARRIVED, SAYS_LOST, "the source says running/booted"),
    ("lost, and the source has it", paused(), None, SAYS_LOST, "the source says paused/migration"),
    ("lost, and half of it runs", HALF_LEFT, running(Reason.POSTCOPY_FAILED), SAYS_LOST, "the target says running"),
]


@pytest.mark.parametrize(
    ("source", "target", "facts", "verdict", "action"),
    [row[1:] for row in (*FENCED, *BELIEVED)],
    ids=[row[0] for row in (*FENCED, *BELIEVED)],
)
def test_each_row_has_its_verdict(source: Seen, target: Seen, facts: Facts, verdict: Verdict, action: Action) -> None:
    ruling = location(source, target, facts)

    assert (verdict, action, "") == (ruling.verdict, ruling.action, ruling.refused), ruling.why


@pytest.mark.parametrize(
    ("source", "target", "facts", "evidence"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_word_is_refused_with_the_evidence_against_it(
    source: Seen, target: Seen, facts: Facts, evidence: str
) -> None:
    ruling = location(source, target, facts)

    assert evidence in ruling.refused
    assert ruling.verdict in HELD and ruling.action in (Action.NONE, Action.RECOVER)


SAYINGS = [(word, elsewhere) for word in (None, *Word) for elsewhere in (False, True)]


@pytest.mark.parametrize(("word", "elsewhere"), SAYINGS, ids=str)
def test_no_pair_of_hosts_that_answer_breaks_a_law(word: Word | None, elsewhere: bool) -> None:
    facts = replace(SURE, word=word, elsewhere=elsewhere, nowhere_else=not elsewhere)

    assert list(_broken(product(_sources(), _targets()), facts))[:5] == []


@pytest.mark.parametrize(("word", "elsewhere"), SAYINGS, ids=str)
def test_no_pair_with_a_silent_host_breaks_a_law(word: Word | None, elsewhere: bool) -> None:
    sources, targets = tuple(_sources()), tuple(_targets())
    silent = [(None, None), *((None, target) for target in targets), *((source, None) for source in sources)]
    for source_off, target_off, arrived in product((False, True), repeat=3):
        facts = Facts(UID, persist_dest=True, word=word, elsewhere=elsewhere, nowhere_else=not elsewhere)
        facts = replace(facts, source_off=source_off, target_off=target_off, arrived=arrived)

        assert list(_broken(silent, facts))[:5] == []


def _broken(pairs: Iterable[tuple[Seen, Seen]], facts: Facts) -> Iterator[str]:
    plain = replace(facts, word=None, source_off=False, target_off=False)
    for source, target in pairs:
        ruling, before = location(source, target, facts), location(source, target, plain)
        for law in LAWS:
            if not law(ruling, source, target, facts, before):
                yield f"{law.__name__}: {source} | {target} -> {ruling}"


_TOLD = tuple(reason for reason in Reason if reason not in _ALIKE)


def _sources() -> Iterator[Domain]:
    for state, reason, job in product(State, _TOLD, (Job.NONE, OUT)):
        yield Domain(GUEST, state, reason, persistent=True, job=job, mark=Mark(migration=UID))


def _targets() -> Iterator[Domain]:
    ours = Mark(migration=UID)
    for state, reason in product(State, _TOLD):
        yield Domain(GUEST, state, reason, persistent=state is State.SHUTOFF, mark=ours)
        yield Domain(GUEST, state, reason, persistent=True, mark=None)
        yield Domain(GUEST, state, reason, persistent=True, mark=STOPPED)
        yield Domain(GUEST, state, reason, persistent=True, mark=ours)
        yield Domain(GUEST, state, reason, job=IN, mark=ours)


def a_host_that_answers_is_believed(ruling: Ruling, source: Seen, target: Seen, _: Facts, before: Ruling) -> bool:
    """Where both do and the table decides, neither the taint nor the word changes anything."""
    if source is None or target is None or before.verdict in HELD:
        return True
    return (ruling.verdict, ruling.action) == (before.verdict, before.action)


def a_word_is_heard_only_where_the_table_holds(ruling: Ruling, _: Seen, __: Seen, facts: Facts, before: Ruling) -> bool:
    return ruling.refused == "" or (facts.word is not None and ruling.verdict in HELD and before.verdict in HELD)


def a_running_domain_is_never_ended(ruling: Ruling, source: Seen, target: Seen, _: Facts, __: Ruling) -> bool:
    victim = {Action.DESTROY_SOURCE: source, Action.DESTROY_TARGET: target}.get(ruling.action)
    return victim is None or victim.state in (State.PAUSED, State.CRASHED)


def nothing_is_done_to_what_libvirt_works_on(ruling: Ruling, source: Seen, target: Seen, _: Facts, __: Ruling) -> bool:
    """A post-copy that broke keeps its job and waits."""
    if ruling.action in (Action.NONE, Action.WAIT, Action.RECOVER):
        return True
    return all(
        host is None or host.state in OFF or host.job is Job.NONE or host.reason is Reason.POSTCOPY_FAILED
        for host in (source, target)
    )


def old_memory_is_resumed_only_where_the_target_surely_never_ran_it_or_the_operator_says_so(
    ruling: Ruling, source: Seen, target: Seen, facts: Facts, before: Ruling
) -> bool:
    if ruling.action is not Action.RESUME_SOURCE:
        return True
    is_left = source is not None and (source.state, source.reason) == (State.PAUSED, Reason.MIGRATION)
    if not is_left or facts.elsewhere or (target is not None and target.state in RUNS | {State.PAUSED}):
        return False
    return before.action is Action.RESUME_SOURCE or facts.word is Word.SOURCE


def a_guest_that_was_seen_on_a_target_that_is_off_is_never_resumed(
    ruling: Ruling, _: Seen, target: Seen, facts: Facts, __: Ruling
) -> bool:
    seen_there = facts.arrived and facts.target_off and target is None
    return not seen_there or ruling.action is not Action.RESUME_SOURCE


def it_is_on_the_target_only_while_the_source_does_not_run_it(
    ruling: Ruling, source: Seen, _: Seen, __: Facts, ___: Ruling
) -> bool:
    return ruling.verdict is not Verdict.ON_TARGET or source is None or source.state not in RUNS


def lost_is_never_said_of_a_guest_that_a_host_runs(
    ruling: Ruling, source: Seen, target: Seen, _: Facts, __: Ruling
) -> bool:
    if ruling.verdict is not Verdict.LOST:
        return True
    return all(host is None or host.state not in RUNS for host in (source, target))


def a_taint_of_both_hosts_leaves_no_hold_between_silent_ones(
    ruling: Ruling, source: Seen, target: Seen, facts: Facts, _: Ruling
) -> bool:
    both = source is None and target is None and facts.source_off and facts.target_off
    return not both or ruling.verdict is Verdict.LOST


def only_our_own_copy_is_ended_on_the_target(
    ruling: Ruling, _: Seen, target: Domain | None, __: Facts, ___: Ruling
) -> bool:
    return ruling.action is not Action.DESTROY_TARGET or (target is not None and target.mark is not None)


LAWS = (
    a_host_that_answers_is_believed,
    a_word_is_heard_only_where_the_table_holds,
    a_running_domain_is_never_ended,
    nothing_is_done_to_what_libvirt_works_on,
    old_memory_is_resumed_only_where_the_target_surely_never_ran_it_or_the_operator_says_so,
    a_guest_that_was_seen_on_a_target_that_is_off_is_never_resumed,
    it_is_on_the_target_only_while_the_source_does_not_run_it,
    lost_is_never_said_of_a_guest_that_a_host_runs,
    a_taint_of_both_hosts_leaves_no_hold_between_silent_ones,
    only_our_own_copy_is_ended_on_the_target,
)
