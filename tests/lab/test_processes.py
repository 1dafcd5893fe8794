"""Only processes of the lab are found, and only those are ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.lab.processes import Process, end, find, process

DEAF = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); sys.stdin.read()"
NAME = Path(sys.executable).name


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that ignores SIGTERM and names a file below the folder `lab`."""
    command = [sys.executable, "-c", DEAF, f"--file={tmp_path}/lab/file"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        yield running
        running.kill()


def test_a_process_is_found_by_the_folder_that_it_names(child: subprocess.Popen[str], tmp_path: Path) -> None:
    found = find(NAME, tmp_path / "lab")

    assert [one.pid for one in found] == [child.pid]


@pytest.mark.parametrize("folder", ["la", "lab/file", "other"])
def test_a_process_of_another_folder_is_not(child: subprocess.Popen[str], tmp_path: Path, folder: str) -> None:
    assert child.poll() is None
    assert find(NAME, tmp_path / folder) == []


def test_a_folder_elsewhere_that_ends_alike_is_not_meant(child: subprocess.Popen[str], tmp_path: Path) -> None:
    assert child.poll() is None
    assert find(NAME, Path("/lab")) == []


def test_one_that_ignores_sigterm_is_killed(child: subprocess.Popen[str]) -> None:
    seen = process(child.pid)
    assert seen is not None

    end([seen, seen], grace_s=0.1)

    assert not seen.alive
    assert child.wait(5) == -9


def test_another_process_with_the_same_pid_is_left_alone(child: subprocess.Popen[str]) -> None:
    seen = process(child.pid)
    assert seen is not None
    earlier = Process(seen.pid, seen.start - 1)

    end([earlier], grace_s=0.1)

    assert not earlier.alive
    assert seen.alive


def test_a_process_that_is_gone_is_not_found() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        gone.wait()

    assert process(gone.pid) is None
