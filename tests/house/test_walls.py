"""The walls between the rooms stand: each import contract is broken once on purpose, in a copy, and must say so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

VIOLATIONS = {
    "Rooms are layered": ("app/machinery/names.py", "import app.store.base"),
    "The API serves any kind": ("app/api/errors.py", "import app.kinds"),
    "Only wiring chooses adapters": ("app/controllers/loop.py", "import app.store.postgres"),
    "libvirt is touched in one driver": ("app/controllers/workers.py", "import libvirt"),
    "OpenTelemetry is spoken in one file": ("app/api/watch.py", "import opentelemetry.sdk"),
    "SQL lives in the store": ("app/controllers/garbage.py", "import sqlalchemy"),
    "HTTP lives in the API": ("app/controllers/node.py", "import fastapi"),
    "A cluster is asked by one client, and an issuer": ("app/api/watch.py", "import app.oidc.issuer"),
    "Decisions are pure": ("app/controllers/migration/decide.py", "import asyncio"),
    "Settings are read once": ("app/api/health.py", "import app.settings"),
    "The lab is imported by the command line alone": ("app/wiring/service.py", "import app.lab.lab"),
}


def walls(root: Path) -> subprocess.CompletedProcess[str]:
    """What lint-imports says about the tree."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=root, env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the house that may be damaged."""
    shutil.copytree(ROOT / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_house_keeps_its_walls(copy: Path) -> None:
    answer = walls(copy)

    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_violation_breaks_its_contract(copy: Path, contract: str) -> None:
    file, line = VIOLATIONS[contract]
    damaged = copy / file
    damaged.write_text(damaged.read_text() + f"\n{line}\n")

    answer = walls(copy)

    assert answer.returncode == 1, answer.stdout
    broken = [row for row in answer.stdout.splitlines() if " BROKEN" in row]
    assert any(row.startswith(contract) for row in broken), answer.stdout


def test_the_api_alone_loads_no_library_of_hosts_expressions_or_other_servers() -> None:
    """Together they would take 30 MB of every process that serves."""
    program = "import sys, app.commands; print(*{'libvirt', 'cel_expr_python', 'httpx', 'opentelemetry.sdk'} & {*sys.modules})"

    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert (answer.returncode, answer.stdout.strip()) == (0, ""), answer.stderr
