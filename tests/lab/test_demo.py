"""The demonstration judges itself by what cannot be made up, and cleans up when it is interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.lab.demo import Moved, console_end, described, findings, listen
from app.lab.errors import LabError
from app.lab.meter import Meter, Silence
from tests.lab.test_hosts import mentioning

ROOT = Path(__file__).resolve().parents[2]


def migration(**changes: Any) -> dict[str, Any]:
    metadata = {
        "name": "testvm-migration", "namespace": "default", "uid": "u", "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z", "selfLink": "/apis/…",
    }  # fmt: skip
    state = {"sourceNode": "node0", "targetNode": "node1", "downtimeMs": 30}
    whole = {
        "metadata": metadata,
        "spec": {"selector": {"name": "testvm"}},
        "status": {"phase": "Succeeded", "migrationState": state},
    }
    return {**whole, **changes}


def moved(document: dict[str, Any]) -> Moved:
    return Moved(
        machine={"status": {"nodeName": "node1"}},
        migration=document,
        as_yaml=yaml.safe_dump(document),
        before=["node0"],
        after=["node1"],
        heard=Silence(0.03, 60, 0, 0),
    )


GOOD = moved(migration())
STATE = {"sourceNode": "node0", "targetNode": "node1"}
WRONG = {
    "it failed": (moved(migration(status={"phase": "Failed"})), "the Migration Succeeded"),
    "a field is not shown": (moved(migration(metadata={"name": "testvm-migration"})), "it shows"),
    "it moved another guest": (moved(migration(spec={"selector": {"name": "other"}})), "it shows"),
    "the guest did not move": (replace(GOOD, after=["node0"]), "one host had"),
    "two hosts have it": (replace(GOOD, after=["node0", "node1"]), "one host had"),
    "nobody has it": (replace(GOOD, after=[]), "one host had"),
    "Drover says another node": (replace(GOOD, machine={"status": {"nodeName": "node2"}}), "Drover says"),
    "no downtime": (moved(migration(status={"phase": "Succeeded", "migrationState": STATE})), "libvirt told"),
    "a lost tick": (replace(GOOD, heard=Silence(0.03, 60, 1, 0)), "the guest's counter"),
    "silence": (replace(GOOD, heard=Silence(0, 0, 0, 0)), "the guest's counter"),
}


def test_a_guest_that_moved_passes() -> None:
    assert all(findings(GOOD).values())


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_whatever_is_not_so_is_found(case: tuple[Moved, str]) -> None:
    seen, words = case

    found = findings(seen)

    assert any(finding.startswith(words) and not so for finding, so in found.items())


def test_a_status_is_told_in_one_line() -> None:
    state = {"sourceNode": "node0", "targetNode": "node1"}
    progress = {"percent": 40, "dataRemainingBytes": 32 << 20}

    line = described({"phase": "Running", "migrationState": state, "progress": progress})

    assert line == "Running, node0 → node1, 40 %, 32 MiB left"
    assert described({}) == "new"


async def test_a_guest_that_fell_silent_is_quoted(tmp_path: Path) -> None:
    said = tmp_path / "testvm.log"
    said.write_text("tick 1\ntick 2\ntick 3\n[    6.1] Kernel panic - not syncing: Attempted to kill init!\n")

    with Meter(said) as meter, pytest.raises(LabError) as raised:
        await listen(meter, 1, said, timeout_s=0.05)

    _, quoted = str(raised.value).split("\n", 1)
    assert quoted == "tick 3\n[    6.1] Kernel panic - not syncing: Attempted to kill init!"


def test_a_guest_that_never_spoke_is_quoted_too(tmp_path: Path) -> None:
    assert console_end(tmp_path / "none.log") == "(nothing: no console)"


@pytest.mark.libvirt
@pytest.mark.postgres
@pytest.mark.lab
@pytest.mark.parametrize("heard", ["Drover serves", "testvm: Running"])
def test_ctrl_c_stops_everything(heard: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "app.lab.demo"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        said = ""
        try:
            for line in running.stdout:
                said += line
                if heard in line:
                    break
        finally:
            os.killpg(running.pid, signal.SIGINT)
        said += running.stdout.read()
        status = running.wait(90)

    (folder,) = set(re.findall(r"working in (\S+)", said)) or {""}
    assert status == 130, said
    assert "everything it started is stopped" in said
    assert not Path(folder).exists()
    assert mentioning(Path(folder)) == []
