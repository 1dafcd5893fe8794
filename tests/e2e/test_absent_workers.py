"""An API without workers says so to who writes, until a worker runs, and again when it has gone."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.builders import MIGRATIONS, migration
from tests.e2e.harness import Drover, environment, eventually

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("operations")]


@pytest.fixture
def service() -> Iterator[Drover]:
    """`drover serve --no-workers`, without hosts, that gives workers two seconds."""
    directory = Path(tempfile.mkdtemp(prefix="drover-absent-"))
    directory.chmod(0o711)
    home = directory / "home"
    home.mkdir()
    env = environment(home) | {"DROVER_WORKERS_ABSENT_S": "2"}
    made = Drover(directory, directory / "lab", directory / "log", flags=("--no-workers",), env=env)
    try:
        made.start()
        yield made
    finally:
        made.stop_workers()
        if made.process is not None and made.process.poll() is None:
            made.stop()
        shutil.rmtree(directory)


def test_writes_say_that_no_worker_runs_until_one_does(service: Drover) -> None:
    said = "no worker has run for 2 s"

    def warns(wanted: bool) -> Any:
        answer = service.request("POST", f"{MIGRATIONS}?dryRun=All", migration("asked"))
        assert answer.status_code == 201, answer.text
        return (said in answer.headers.get("warning", "")) is wanted

    eventually("a dry run warns", lambda: warns(True))
    printed = service.kubectl("create", "namespace", "other")
    assert "Warning" not in printed.stderr
    printed = service.kubectl("create", "-f", "-", stdin=json.dumps(migration("typed")))
    assert f"Warning: {said}" in printed.stderr and "created" in printed.stdout

    service.start_worker()
    eventually("a dry run does not warn", lambda: warns(False))
    eventually("what was written is acted on", lambda: service.finished("typed"))
    assert "Warning" not in service.kubectl("delete", "migrations", "typed").stderr

    service.stop_workers()
    service.workers.clear()
    eventually("a dry run warns again", lambda: warns(True))
