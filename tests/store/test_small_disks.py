"""The embedded server on a disk that is too small: one line says so, nothing half-made stays, and with room it starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from app.store import guardian
from app.store.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.store.test_embedded import answer, ended

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk"),
]


@pytest.fixture
def disk() -> Iterator[Path]:
    """Full until `grow`."""
    place = Path(tempfile.mkdtemp(prefix="drover-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0711", "tmpfs", str(place)], check=True, timeout=10)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, timeout=30)
        place.rmdir()


def grow(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True, timeout=10)


async def test_whatever_the_disk_has_room_for_one_line_says_why_and_later_it_starts(disk: Path) -> None:
    """No room for initdb at all; for half of it; for all of it, but not for the server's first steps."""
    for size in ("1m", "12m", "30m"):
        grow(disk, size)
        embedded = EmbeddedPostgres(disk / "data", durable=False)

        with pytest.raises(EmbeddedPostgresError, match="No space left on device") as refusal:
            await embedded.start()

        assert "\n" not in str(refusal.value)
        await ended(disk / "data")
        assert not (disk / "data" / "postgres.new").exists()
        if size != "30m":
            assert not (disk / "data" / "postgres").exists()

    grow(disk, "200m")
    embedded = EmbeddedPostgres(disk / "data", durable=False)
    assert await answer(await embedded.start()) == 42
    await embedded.stop()
    await ended(disk / "data")


def test_an_engine_that_could_not_be_copied_leaves_nothing(disk: Path) -> None:
    """Where the server's user may not reach the engine it is copied: half a copy would fill the disk for ever."""
    plan = EmbeddedPostgres(disk / "data", durable=False).plan()
    closed = Path(tempfile.mkdtemp(prefix="drover-closed-"))
    try:
        (closed / "wheel").mkdir()
        (closed / "wheel" / "pginstall").symlink_to(plan.engine)
        (closed / "wheel.libs").symlink_to(plan.libraries)
        engine = replace(plan, engine=str(closed / "wheel" / "pginstall"), libraries=str(closed / "wheel.libs"))
        grow(disk, "8m")
        (disk / "data").mkdir(mode=0o711)

        done = subprocess.run(
            [sys.executable, "-I", "-S", guardian.__file__, json.dumps(asdict(engine))],
            capture_output=True, text=True, timeout=60, cwd="/",
        )  # fmt: skip
    finally:
        shutil.rmtree(closed)

    assert done.returncode == 1
    assert "No space left on device" in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list((disk / "data").glob("engine-*"))


@pytest.mark.slow
def test_the_command_says_so_in_one_line_and_serves_when_there_is_room(disk: Path) -> None:
    """A disk without a byte left, one without room for the database, and one with."""
    filler = disk / "filler"
    filler.write_bytes(b"x" * (64 << 10))
    assert "No space left on device" in refused(disk)
    filler.unlink()
    assert "No space left on device" in refused(disk)
    grow(disk, "20m")
    assert "No space left on device" in refused(disk)

    grow(disk, "200m")
    with subprocess.Popen(serve(disk), cwd=ROOT, env=clean(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Drover serves ")
        finally:
            process.terminate()


def refused(disk: Path) -> str:
    """The one line that it says."""
    done = subprocess.run(serve(disk), cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done
    (line,) = done.stderr.strip().splitlines()
    return line


def serve(disk: Path) -> list[str]:
    return [sys.executable, "-m", "app.main", "serve", "--no-workers", "--port", "0", "--data-dir", str(disk / "data")]


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}
