"""The forecast: what earlier moves tell of the next one. Pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.controllers.migration.forecast import Copied, Measured, Move, forecast, measured
from app.controllers.migration.records import record
from app.kinds.migration import MigrationProgress, MigrationState, MigrationStatus, Phase
from app.kinds.migration_options import MigrationConfiguration
from app.machinery.objects import Document
from tests.controllers.migration.world import migration_document

MIB = 1 << 20
GIB = 1 << 30


def past(
    source: str = "a", target: str = "b", *, rate: int = 100 * MIB, dirty: int = 0, guest: str = "g", at: int = 0
) -> Measured:
    return Measured(source, target, guest, f"2026-01-01T00:00:{at:02}Z", rate, dirty)


def move(**more: object) -> Move:
    return Move(**{"guest": "g", "source": "a", "target": "b", "memory": GIB, **more})  # type: ignore[arg-type]  # by name


RATES = {
    "the pair's": ([past(rate=10 * MIB), past("a", "c", rate=50 * MIB)], 10 * MIB),
    "the median of the pair's latest": (
        [past(rate=mib * MIB, at=at) for at, mib in enumerate((1, 1, 10, 20, 30, 40, 50))], 30 * MIB,
    ),
    "another pair's of the same source": ([past("a", "c", rate=20 * MIB), past("x", "y", rate=90 * MIB)], 20 * MIB),
    "another pair's of the same target": ([past("c", "b", rate=20 * MIB), past("x", "y", rate=90 * MIB)], 20 * MIB),
    "anybody's": ([past("x", "y", rate=90 * MIB)], 90 * MIB),
    "not one that was capped": ([past(rate=0), past("x", "y", rate=90 * MIB)], 90 * MIB),
}  # fmt: skip


@pytest.mark.parametrize("case", RATES.values(), ids=RATES.keys())
def test_the_bandwidth_is(case: tuple[list[Measured], int]) -> None:
    history, expected = case

    told = forecast(move(), history)

    assert expected == told.bytes_per_second
    assert told.seconds == -(-GIB // expected)
    assert (told.bytes, told.converges) == (GIB, True)


def test_without_a_measured_move_only_the_bytes_are_known() -> None:
    told = forecast(move(), [])

    assert (
        told.bytes, told.bytes_per_second, told.seconds, told.downtime_ms, told.converges
    ) == (GIB, None, None, None, None)  # fmt: skip
    assert "no move was measured" in told.basis


def test_a_cap_slows_the_copy_and_not_the_switch_over() -> None:
    told = forecast(move(cap=10 * MIB), [past(dirty=2 * MIB)])

    assert told.bytes_per_second == 10 * MIB
    assert told.downtime_ms is not None and told.downtime_ms <= 300 / 10 + 1


def test_a_guest_that_writes_is_sent_again_and_still_converges() -> None:
    told = forecast(move(), [past(dirty=50 * MIB)])

    assert told.converges
    assert GIB * 1.5 < told.bytes <= GIB * 2
    assert told.downtime_ms is not None and 0 < told.downtime_ms <= 300


def test_a_guest_that_writes_faster_than_the_link_does_not_converge() -> None:
    told = forecast(move(), [past(dirty=200 * MIB)])

    assert (told.converges, told.downtime_ms) == (False, None)
    assert told.seconds == 300  # 150 s for each of at least two GiB


def test_only_the_same_guests_last_move_tells_how_it_writes() -> None:
    told = forecast(move(), [past(dirty=9, at=1), past(dirty=7, at=2), past(dirty=200 * MIB, guest="h", at=3)])

    assert told.dirty_bytes_per_second == 7


def test_no_switch_over_is_quicker_than_the_usual() -> None:
    history = [replace(past(at=at), downtime_ms=ms) for at, ms in enumerate((60, 0, 80, 70))]

    assert forecast(move(), history).downtime_ms == 70


def test_disks_that_are_copied_count_before_the_memory() -> None:
    told = forecast(move(copied=(Copied("vda", GIB), Copied("vdb"))), [past(rate=64 * MIB)])

    assert (told.bytes, told.seconds, told.converges) == (2 * GIB, 32, True)
    assert told.basis.endswith(
        "; its disks vda are copied too, 1024 MiB; its disks vdb are copied too, which is not counted"
    )
    assert forecast(move(copied=(Copied("vda", GIB),)), []).bytes == 2 * GIB


def test_disks_may_take_all_of_the_time_that_a_move_has() -> None:
    copied = (Copied("vda", 99 * GIB),)
    told = forecast(replace(move(copied=copied), seconds_per_gib=10), [past(rate=64 * MIB)])

    assert (told.bytes, told.seconds, told.converges) == (1000 * 64 * MIB, 1000, False)
    assert told.basis.endswith("; it would not be over after 1000 s (completionTimeoutPerGiB)")
    assert forecast(move(copied=copied), [past(rate=64 * MIB)]).converges


def remembered(*, elapsed_ms: int = 2000, bandwidth: str | None = None, total: int = 0) -> Document:
    """What the history keeps of a move."""
    status = MigrationStatus(
        phase=Phase.SUCCEEDED,
        instance="g",
        migration_state=MigrationState(
            source_node="a",
            target_node="b",
            end_timestamp="2026-01-01T00:00:00Z",
            downtime_ms=70,
            migration_configuration=MigrationConfiguration(bandwidth_per_migration=bandwidth),
        ),
        progress=MigrationProgress(
            data_processed_bytes=200 * MIB, data_total_bytes=total, elapsed_ms=elapsed_ms, dirty_bytes_per_second=5
        ),
    )
    return record(migration_document("m0"), status, ()).record


def test_what_a_remembered_move_showed() -> None:
    assert [replace(past(dirty=5), downtime_ms=70)] == list(measured([remembered()]))
    assert [one.rate for one in measured([remembered(bandwidth="64Mi")])] == [0]
    assert [one.rate for one in measured([remembered(total=400 * MIB)])] == [200 * MIB]  # most of it was empty
    assert list(measured([remembered(elapsed_ms=0), {"outcome": "Succeeded"}])) == []


def test_what_a_record_does_not_say_is_not_guessed() -> None:
    old = remembered()
    del old["configuration"], old["dirtyBytesPerSecond"]

    (told,) = measured([old])

    assert (told.rate, told.dirty_rate, told.downtime_ms) == (0, None, 70)
    assert forecast(move(), [told]).dirty_bytes_per_second is None
