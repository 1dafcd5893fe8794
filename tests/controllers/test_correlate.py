"""Events of one kind that are too many: told together, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.controllers.birth import Birth
from app.controllers.correlate import BURST, COMBINED, FORGOTTEN_AFTER, SIMILAR, Correlator, Subject, Way
from app.controllers.events import Recorder
from app.kinds import EVENT
from app.machinery.objects import Document
from app.store.base import Scope, Store
from tests.controllers.world import World

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SUBJECT = Subject("drover", "uid", "Warning", "Failed")


def ways(correlator: Correlator, *messages: str, at: datetime = NOON) -> list[Way]:
    return [correlator.way(SUBJECT, message, at) for message in messages]


def test_from_the_tenth_message_of_a_reason_on_they_are_told_together() -> None:
    told = ways(Correlator(), *(f"m{number}" for number in range(SIMILAR + 2)))

    assert told == [Way.SINGLY] * (SIMILAR - 1) + [Way.TOGETHER] * 3


def test_the_same_message_again_is_no_further_one() -> None:
    assert ways(Correlator(), *["m"] * BURST) == [Way.SINGLY] * BURST


def test_after_ten_quiet_minutes_they_are_told_singly_again() -> None:
    correlator = Correlator()
    ways(correlator, *(f"m{number}" for number in range(SIMILAR)))

    assert ways(correlator, "later", at=NOON + FORGOTTEN_AFTER + timedelta(seconds=1)) == [Way.SINGLY]


def test_what_was_quiet_for_ten_minutes_is_kept_no_longer() -> None:
    correlator = Correlator()
    for number in range(20):
        correlator.way(Subject("drover", f"uid{number}", "Warning", "Failed"), "m", NOON)

    ways(correlator, "m", at=NOON + FORGOTTEN_AFTER + timedelta(seconds=1))

    assert list(correlator._similar) == [SUBJECT]


def test_after_25_about_one_object_there_is_one_every_five_minutes() -> None:
    correlator = Correlator()
    ways(correlator, *["m"] * BURST)

    assert ways(correlator, "m") == [Way.NOT]
    assert correlator.way(Subject("drover", "another", "Warning", "Failed"), "m", NOON) is Way.SINGLY
    assert ways(correlator, "m", "m", at=NOON + timedelta(minutes=5)) == [Way.SINGLY, Way.NOT]


async def test_many_of_an_object_are_few_in_the_store(store: Store) -> None:
    world, recorder = World(store), Recorder(birth=Birth(now=lambda: NOON))
    vm = await world.vm("testvm")

    for number in range(40):
        await recorder.record_alone(store, vm, "Failed", f"copy {number} failed", "Warning")

    found: list[Document] = [stored.document for stored in (await store.objects.list(Scope(EVENT.resource))).items]
    (combined,) = [event for event in found if event["message"].startswith(COMBINED)]
    assert len(found) == SIMILAR
    assert (combined["message"], combined["count"]) == (f"{COMBINED}copy {BURST - 1} failed", BURST - SIMILAR + 1)
