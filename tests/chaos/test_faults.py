"""The sequence of faults: repeatable, and fair to every victim and every step."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

from app.controllers.migration.steps import Step
from tests.chaos.faults import Blow, Deck, Fault, Moment, Victim, possible, schedule
from tests.chaos.guests import Guest


def first(count: int, seed: int = 1) -> list[Fault]:
    return list(islice(schedule(seed), count))


def test_a_seed_gives_the_same_faults_again() -> None:
    assert first(200) == first(200)
    assert first(200) != first(200, seed=2)


def test_every_step_of_a_migration_is_a_moment() -> None:
    assert {step.value for step in Step} <= {moment.value for moment in Moment}


def test_every_possible_pair_comes_before_one_comes_twice() -> None:
    pairs = [(victim, moment) for victim in Victim for moment in Moment if possible(victim, moment)]
    common = [pair for pair in pairs if pair[0] is not Victim.SOURCE_QEMU]

    seen = Counter((fault.victim, fault.moment) for fault in first(3 * len(pairs)))

    assert set(common) <= set(seen)
    assert max(seen[pair] for pair in common) - min(seen[pair] for pair in common) <= 1
    assert set(Blow) == {fault.blow for fault in first(3 * len(pairs))}


def test_a_moment_that_did_not_come_has_its_turn_again() -> None:
    deck = Deck(schedule(1))
    (fault, *_) = deck.take(4)

    deck.put_back(fault)

    assert fault in deck.take(4)


def test_a_round_begins_with_what_lasts_longest() -> None:
    lengths = [fault.blow.seconds for fault in Deck(schedule(3)).take(60)]

    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]


def test_a_heartbeat_that_is_lost_or_repeated_is_heard(tmp_path: Path) -> None:
    console = tmp_path / "console"
    guest = Guest("vm0", "uuid", console)
    for text in ("tick 0\ntick 1\nti", "ck 2\ntick 3\n"):
        with console.open("a") as out:
            out.write(text)
        guest.listen()

    assert (guest.last, guest.broken) == (3, [])
    with console.open("a") as out:
        out.write("tick 5\ntick 5\n")
    guest.listen()
    assert len(guest.broken) == 2
