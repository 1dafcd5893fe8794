"""The drover command as a person meets it: what it starts it stops, and every refusal is one clear line with status 2."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.server import url_of
from app.store.embedded import EmbeddedPostgres
from tests.e2e.harness import DROVER, ROOT, environment

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.lab]


@pytest.fixture
def place() -> Iterator[Path]:
    """A short folder that other users may pass, as unix sockets and root's helper need."""
    with tempfile.TemporaryDirectory(prefix="drover-cmd-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


def drover(place: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DROVER, *words], cwd=ROOT, env=environment(place) | variables, capture_output=True, text=True, timeout=60
    )


def refusal(answer: subprocess.CompletedProcess[str]) -> str:
    """The one line that it said."""
    assert answer.returncode == 2, answer
    lines = answer.stderr.strip().splitlines()
    assert len(lines) == 1, answer.stderr
    return lines[0]


def left_below(place: Path) -> list[str]:
    """The command lines of processes that name the folder; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # it ended while we looked
            if str(place) in line:
                found.append(line)
    return found


def test_ctrl_c_stops_all_that_run_started(place: Path) -> None:
    process = subprocess.Popen(
        [*DROVER, "run", "--nodes", "2", "--port", "0", "--data-dir", str(place / "data"), "--lab-dir", str(place / "lab")],
        cwd=ROOT, env=environment(place), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]

        os.killpg(process.pid, signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    assert said[0].startswith("Drover serves https://127.0.0.1:"), said
    assert said[1] == f"export KUBECONFIG={place}/data/kubeconfig\n"
    assert "local hosts are up" in "".join(said) + rest, (said, rest, errors)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors, errors
    assert left_below(place) == []
    assert not (place / "lab").exists()


@pytest.fixture
def database(place: Path) -> Iterator[str]:
    """The URL of a PostgreSQL that is not this Drover's own."""
    server = EmbeddedPostgres(place / "elsewhere", durable=False)
    yield asyncio.run(server.start())
    asyncio.run(server.stop())


@pytest.mark.parametrize(("folder", "word"), [("made/later", "export KUBECONFIG="), ("/proc/nowhere", "cannot write ")])
def test_with_another_postgresql_the_data_folder_may_be_missing(
    place: Path, database: str, folder: str, word: str
) -> None:
    data = place / folder
    process = subprocess.Popen(
        [*DROVER, "serve", "--no-tls", "--no-workers", "--port", "0", "--data-dir", str(data)], cwd=ROOT,
        env=environment(place) | {"DROVER_DATABASE_URL": database}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
    finally:
        process.terminate()
        status = process.wait(40)

    assert said[0].startswith("Drover serves http://127.0.0.1:"), said
    assert said[1].startswith(f"{word}{data}/kubeconfig"), said
    assert status == 0


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("fd00::1", "http://[fd00::1]:8080"),
        ("h1.example", "http://h1.example:8080"),
    ],
)
def test_the_url_that_is_told_can_be_used(bind: str, url: str) -> None:
    assert url_of(bind, 8080) == url


def test_a_busy_port_is_one_line(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        line = refusal(drover(place, "serve", "--port", str(port), "--data-dir", str(place / "data")))

    assert str(port) in line and "--port" in line


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"DROVER_PORT": "many"}, "DROVER_PORT"),
        ({"DROVER_PORT": "70000"}, "DROVER_PORT"),
        ({"DROVER_LEASE_S": "0"}, "DROVER_LEASE_S"),
        ({"DROVER_DATABASE_URL": "postgresql://a", "DROVER_DATABASE_URL_FILE": "/b"}, "not both"),
        ({"DROVER_DATABASE_URL_FILE": "/nonexistent"}, "/nonexistent"),
        ({"DROVER_DATABASE_URL": "mysql://root@localhost/x"}, "postgresql"),
        ({"DROVER_DATA_DIR": "/proc/nowhere"}, "/proc/nowhere"),
        ({"DROVER_LOG_FORMAT": "xml"}, "DROVER_LOG_FORMAT"),
        ({"DROVER_TLS": "false", "DROVER_BIND": "0.0.0.0"}, "loopback only"),
        ({"DROVER_TRUST_LOOPBACK": "true", "DROVER_BIND": "0.0.0.0"}, "--trust-loopback"),
        ({"DROVER_CLIENT_CA": "/nonexistent"}, "/nonexistent"),
        ({"DROVER_TOKEN_AUTH_FILE": "/nonexistent"}, "/nonexistent"),
        ({"DROVER_REQUESTHEADER_CLIENT_CA": "/etc/hostname"}, "/etc/hostname holds no certificate"),
    ],
)
def test_wrong_settings_are_one_line(place: Path, variables: dict[str, str], word: str) -> None:
    defaults = {"DROVER_DATA_DIR": str(place / "data"), "DROVER_PORT": "0"}

    line = refusal(drover(place, "serve", **defaults | variables))

    assert word in line


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("serve", "--port", "many"), "--port"),
        (("lab", "up", "--nodes", "99"), "--nodes"),
        (("serve", "--quick"), "--quick"),
        (("move",), "move"),
        (("lab",), "command"),
    ],
)
def test_words_that_mean_nothing_are_one_line(place: Path, words: tuple[str, ...], word: str) -> None:
    line = refusal(drover(place, *words))

    assert word in line and "--help" in line


def test_no_words_ask_for_help(place: Path) -> None:
    answer = drover(place)

    assert answer.returncode == 0
    assert "serve" in answer.stdout and "lab" in answer.stdout


def test_work_never_makes_a_store_of_its_own(place: Path) -> None:
    line = refusal(drover(place, "work", "--data-dir", str(place / "data")))

    assert "DROVER_DATABASE_URL" in line
    assert not (place / "data").exists()


def test_lab_up_without_a_drover_says_so(place: Path) -> None:
    began = time.monotonic()

    line = refusal(drover(place, "lab", "up", "--lab-dir", str(place / "lab"), "--server", "http://127.0.0.1:1"))

    assert "drover serve" in line
    assert time.monotonic() - began < 30
    assert left_below(place) == []
