"""A whole Drover as a process: `drover serve` on a free port, with a database of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.kubeconfig import Way, read_kubeconfig
from app.lab.errors import LabError

LOG = "drover.log"
START_S = 60.0
STOP_S = 45.0
"""It finishes its step first, within 25 s."""
ANNOUNCEMENT = "export KUBECONFIG="


@asynccontextmanager
async def served(folder: Path, lab: Path) -> AsyncIterator[Way]:
    """How the administrator reaches it. It is stopped on the way out; what it says is in `drover.log`."""
    log = folder / LOG
    data = folder / "data"
    with log.open("ab") as complaints:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.main", "serve",
            "--port", "0", "--data-dir", str(data), "--lab-dir", str(lab),
            cwd="/", env=_environment(folder), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=complaints, start_new_session=True,
        )  # fmt: skip
    try:
        await _announced(running, log)
        yield read_kubeconfig(data / "kubeconfig")
    finally:
        await _stop(running)


async def _announced(running: asyncio.subprocess.Process, log: Path) -> None:
    """Returns when it has said where its kubeconfig is."""
    assert running.stdout is not None
    with suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            while line := await running.stdout.readline():
                if line.decode().startswith(ANNOUNCEMENT):
                    return
    raise LabError(f"drover serve did not start: {last_words(log.parent, 1)}")


async def _stop(running: asyncio.subprocess.Process) -> None:
    if running.returncode is not None:
        return
    running.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await running.communicate()
    except TimeoutError:
        running.kill()
        await running.communicate()


def _environment(folder: Path) -> dict[str, str]:
    """Nobody's DROVER_* variables, and this checkout, wherever it was started from."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}
    return {**kept, "HOME": str(folder), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def last_words(folder: Path, lines: int = 15) -> str:
    """The end of what it said."""
    said = (folder / LOG).read_text(errors="replace").strip().splitlines()
    return "\n".join(said[-lines:]) or "it said nothing"
