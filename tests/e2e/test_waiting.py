"""Starting while PostgreSQL is away: that is said at once, with its place; the process lives, then goes on or ends: status 3."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from app.store.embedded import EmbeddedPostgres
from app.store.writing import TAKE_COUNTER
from tests.api.processes import free_port
from tests.e2e.harness import DROVER, ROOT, environment, eventually

pytestmark = [pytest.mark.postgres]

SECRET = "opensesame"


@pytest.fixture
def place() -> Iterator[Path]:
    """A short folder that other users may pass."""
    with tempfile.TemporaryDirectory(prefix="drover-wait-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


@contextmanager
def starting(place: Path, url: str, *words: str, wait_s: float = 60) -> Iterator[subprocess.Popen[str]]:
    variables = {
        "DROVER_DATABASE_URL": url,
        "DROVER_DATABASE_WAIT_S": str(wait_s),
        "DROVER_DATA_DIR": str(place / "own"),
    }
    process = subprocess.Popen(
        [*DROVER, *words], cwd=ROOT, env=environment(place) | variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def line_of(process: subprocess.Popen[str], word: str, within_s: float = 20) -> str:
    """The first line on standard error with that word."""
    assert process.stderr is not None
    until = time.monotonic() + within_s
    while (left_s := until - time.monotonic()) > 0 and select.select([process.stderr], [], [], left_s)[0]:
        line = process.stderr.readline()
        if word in line:
            return line
        if not line:
            break
    raise AssertionError(f"nothing about {word!r} within {within_s} s")


@pytest.mark.parametrize("words", [("serve", "--no-tls", "--trust-loopback", "--port", "0"), ("work",)])
def test_one_that_refuses_is_told_at_once_and_the_end_is_status_3(place: Path, words: tuple[str, ...]) -> None:
    url = f"postgresql://nobody:{SECRET}@127.0.0.1:{(port := free_port())}/drover"
    with starting(place, url, *words, wait_s=2) as process:
        waiting = line_of(process, "waiting for PostgreSQL")
        said, errors = process.communicate(timeout=30)

    assert f"127.0.0.1:{port}/drover" in waiting
    assert (process.returncode, said) == (3, "")
    assert errors.strip().splitlines()[-1].startswith(f"drover: no PostgreSQL at 127.0.0.1:{port}/drover after 2 s: ")
    assert SECRET not in waiting + errors and "Traceback" not in errors


def test_while_one_is_silent_the_process_lives_is_not_ready_and_may_be_stopped(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url, port = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/drover", free_port()
        with starting(place, url, "serve", "--no-tls", "--trust-loopback", "--port", str(port)) as process:
            line_of(process, "waiting for PostgreSQL")
            answers = {path: answered(port, path) for path in ("/livez", "/readyz", "/api/v1/nodes")}
            asked = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
            took_s = time.monotonic() - asked

    assert {path: answer.status_code for path, answer in answers.items()} == {
        "/livez": 200, "/readyz": 500, "/api/v1/nodes": 503,
    }  # fmt: skip
    assert answers["/api/v1/nodes"].json()["kind"] == "Status"
    assert answers["/api/v1/nodes"].headers["retry-after"] == "1"
    assert process.returncode == 0 and "Traceback" not in errors, errors
    assert took_s < 15


def answered(port: int, path: str) -> httpx.Response:
    """Once it listens."""

    def ask() -> httpx.Response | None:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5)
        except httpx.TransportError:
            return None

    found: httpx.Response = eventually(f"{path} is answered", ask, 15)
    return found


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_somebody_who_stands_still_with_the_counter_of_revisions_is_waited_for(place: Path) -> None:
    server, words = (
        EmbeddedPostgres(place / "elsewhere", durable=False),
        ("serve", "--no-tls", "--no-workers", "--port", "0"),
    )
    await server.start()
    try:
        with starting(place, server.url, *words) as first:
            assert first.stdout is not None
            first.stdout.readline()
        connection = await asyncpg.connect(server.url)
        try:
            await connection.execute("BEGIN")
            await connection.execute(str(TAKE_COUNTER))
            with starting(place, server.url, *words) as process:
                line_of(process, "lock timeout", 40)
                await connection.execute("ROLLBACK")
                assert process.stdout is not None
                said = process.stdout.readline()
        finally:
            await connection.close()
    finally:
        await server.stop()

    assert said.startswith("Drover serves http://127.0.0.1:"), said


def test_one_that_comes_late_is_used(place: Path) -> None:
    server = EmbeddedPostgres(place / "elsewhere", durable=False)
    with starting(place, server.url, "serve", "--no-tls", "--no-workers", "--trust-loopback", "--port", "0") as process:
        line_of(process, "waiting for PostgreSQL")
        try:
            asyncio.run(server.start())
            line_of(process, "PostgreSQL answers")
            assert process.stdout is not None
            said = process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            status = process.wait(40)
        finally:
            asyncio.run(server.stop())

    assert said.startswith("Drover serves http://127.0.0.1:")
    assert status == 0
