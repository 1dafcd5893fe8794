"""The benchmark's own parts: what it reads out of wrk, what it counts as reached, and that it notices wrong answers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from app.certificates import SelfSigned
from benchmarks import figures, services, wrk
from benchmarks.fanout import Spread, fan_out, spread
from benchmarks.figures import DROVER, YARDSTICK, Better, Taken
from benchmarks.subject import Subject, WrongAnswer

RESULT = 'RESULT {"requests":200,"microseconds":2000000,"bytes":9000,"refused":1,"broken":2,"p50_us":10,"p99_us":20,"made":210}'


def test_what_wrk_counted_is_read_out_of_what_it_prints() -> None:
    found = wrk.counted(f"Running 2s test\n\n{RESULT}\n")

    assert (found.rate, found.failures, found.made) == (100.0, 3, 210)


def test_an_output_without_a_result_is_an_error() -> None:
    with pytest.raises(wrk.WrkError, match="unable to connect"):
        wrk.counted("unable to connect to 127.0.0.1:1")


def test_scripts_name_their_paths_and_number_what_they_create() -> None:
    assert '"/a?limit=1","/b"' in wrk.reads(["/a?limit=1", "/b"])
    assert '{"name":"made-@"}' in wrk.creates('{"name":"made-@"}')


def test_more_is_better_for_rates_and_less_for_times() -> None:
    assert figures.reached(600, 600, Better.MORE) is True
    assert figures.reached(599, 600, Better.MORE) is False
    assert figures.reached(9, 9, Better.LESS) is True
    assert figures.reached(9.1, 9, Better.LESS) is False
    assert figures.reached(None, 9, Better.LESS) is None


def test_the_table_marks_what_is_missed() -> None:
    taken = Taken(figures.GETS[32])
    for drover, yardstick in ((4100, 3000), (4000, 5000), (100, 5000)):
        taken.add(DROVER, drover)
        taken.add(YARDSTICK, yardstick)

    _, line = figures.table([taken]).splitlines()

    assert line.split()[3:] == ["4,000/s", "≥", "4,000/s", "ok", "5,000/s", "0.80", "≥", "1.00", "MISSED"]


def test_percentiles_are_of_what_was_taken() -> None:
    assert Spread(p50_ms=51.0, p99_ms=100.0, max_ms=100.0) == spread([number / 1000 for number in range(100, 0, -1)])


@pytest.fixture
async def yardstick(postgres_url: str, tmp_path: Path) -> AsyncIterator[Subject]:
    certificates = SelfSigned(tmp_path, ("127.0.0.1",))
    certificates.ensure()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.yardstick", await _emptied(postgres_url), str(certificates.serving),
        cwd=services.ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(30):
        url = (await process.stdout.readline()).decode().strip()
    assert process.returncode is None
    yield Subject(YARDSTICK, url, "/objects", certificates.authority, pid=process.pid)
    process.kill()
    await process.wait()


async def _emptied(url: str) -> str:
    """The yardstick makes tables of its own."""
    connection = await asyncpg.connect(url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    return url


async def test_the_yardstick_stores_and_tells_every_watcher(yardstick: Subject) -> None:
    await asyncio.to_thread(yardstick.create, "one")
    await asyncio.to_thread(yardstick.ensure_stored, "one")

    told = await asyncio.to_thread(fan_out, yardstick, 5, 2)

    assert 0 < told.p50_ms <= told.p99_ms <= told.max_ms
    assert services.computed_s(yardstick.pid) > 0


async def test_what_reads_otherwise_than_it_was_written_is_noticed(yardstick: Subject) -> None:
    await asyncio.to_thread(yardstick.create, "one")

    with pytest.raises(WrongAnswer, match="404"):
        await asyncio.to_thread(yardstick.ensure_stored, "another")
