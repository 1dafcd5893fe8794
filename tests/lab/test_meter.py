"""Silence is judged from arrivals; counters tell what was lost and what came twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.lab.meter import Arrival, Meter, Silence, silence

CASES = {
    "nothing arrived": ([], Silence(0, 0, 0, 0)),
    "one tick": ([(7, 1.0)], Silence(0, 1, 0, 0)),
    "as it should be": ([(1, 0.0), (2, 0.1), (3, 0.2)], Silence(0, 3, 0, 0)),
    "a pause": ([(1, 0.0), (2, 2.1), (3, 2.2)], Silence(2.0, 3, 0, 0)),
    "a lost counter": ([(1, 0.0), (4, 0.1)], Silence(0, 2, 2, 0)),
    "a repeated counter": ([(1, 0.0), (2, 0.1), (2, 0.2)], Silence(0, 3, 0, 1)),
    "began anew": ([(9, 0.0), (0, 0.1)], Silence(0, 2, 0, 1)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_silence(case: tuple[list[tuple[int, float]], Silence]) -> None:
    arrivals, expected = case

    heard = silence([Arrival(number, at) for number, at in arrivals], 0.1)

    assert heard.longest_s == pytest.approx(expected.longest_s)
    assert (heard.ticks, heard.lost, heard.repeated) == (expected.ticks, expected.lost, expected.repeated)


@pytest.mark.parametrize(
    ("heard", "unbroken"), [((0, 5, 0, 0), True), ((0, 5, 1, 0), False), ((0, 5, 0, 1), False), ((0, 0, 0, 0), False)]
)
def test_only_a_guest_that_was_heard_is_unbroken(heard: tuple[float, int, int, int], unbroken: bool) -> None:
    assert Silence(*heard).unbroken is unbroken


def test_the_meter_reads_from_the_present_end_and_puts_split_lines_together(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.write_bytes(b"tick 1\n")
    with console.open("ab", buffering=0) as guest, Meter(console) as meter:
        assert meter.wait_until_listening(5)

        guest.write(b"tick 2\r\nti")
        assert meter.wait_for_ticks(1, 5)
        guest.write(b"ck 3\nhello\ntick 4\n")
        assert meter.wait_for_ticks(2, 5)

        heard = meter.read()
    assert (heard.ticks, heard.lost, heard.repeated) == (3, 0, 0)


def test_the_meter_waits_for_a_console_that_is_not_there_yet(tmp_path: Path) -> None:
    console = tmp_path / "console"
    with Meter(console) as meter:
        with console.open("ab", buffering=0) as guest:
            assert meter.wait_until_listening(5)
            guest.write(b"tick 0\n")

        assert meter.wait_for_ticks(1, 5)


def test_a_silent_guest_is_told(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.touch()

    with Meter(console) as meter:
        assert not meter.wait_for_ticks(1, 0.05)


def test_nobody_waits_for_a_meter_that_was_given_up(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.touch()
    with ThreadPoolExecutor() as threads, Meter(console) as meter:
        waiting = threads.submit(meter.wait_for_ticks, 1, 60)
        meter.__exit__(None, None, None)

        assert waiting.result(5) is False
