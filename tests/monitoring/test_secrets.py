"""Secrets stay secret: in logs, errors, metrics and process arguments, of a service that runs and of one that cannot start."""

from __future__ import annotations

import json
import os
import selectors
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from app.settings import Settings
from app.telemetry import discreet
from app.wiring.database import database_url
from app.wiring.errors import Misconfigured

ROOT = Path(__file__).resolve().parents[2]
PASSWORD, TOKEN, WRONG = "Pa55wordOfOurDatabase", "TokenOfAliceInTheFile", "TokenThatNobodyKnows"
HIDDEN = (PASSWORD, TOKEN, WRONG)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"cannot reach postgresql://drover:{PASSWORD}@db/drover", "cannot reach postgresql://drover:***@db/drover"),
        (f"postgresql://drover:{PASSWORD}@/db?host=/run", "postgresql://drover:***@/db?host=/run"),
        (f"headers: Authorization: Bearer {TOKEN}", "headers: Authorization: Bearer ***"),
        (f"qemu+tcp://h1/system?password={PASSWORD}&x=1", "qemu+tcp://h1/system?password=***&x=1"),
        (f"-----BEGIN PRIVATE KEY-----\n{PASSWORD}\n-----END", "-----BEGIN PRIVATE KEY-----***-----END"),
        ("run claimed token=7 https://127.0.0.1:8443/x@y", "run claimed token=7 https://127.0.0.1:8443/x@y"),
    ],
)  # fmt: skip
def test_a_line_is_discreet(text: str, told: str) -> None:
    assert discreet(text) == told


def environment(home: Path, **variables: str) -> dict[str, str]:
    clean = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return clean | variables


def arguments(process: subprocess.Popen[str]) -> Iterator[str]:
    """The arguments of every process in its session."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.getsid(int(entry.name)) == process.pid:
                yield (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it ended while we looked


def said(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and selector.select(timeout=1) is not None:
            line = process.stdout.readline() if selector.select(timeout=0) else ""
            if word in line:
                return line.split(word)[1].strip()
            assert process.poll() is None, "it ended"
    raise AssertionError("it did not start")


@pytest.mark.postgres
def test_a_service_that_runs_tells_none(postgres_url: str, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.csv"
    tokens.write_text(f"{TOKEN},alice,1\n")
    user = postgres_url.partition("://")[2].partition("@")[0]
    variables = {
        "DROVER_DATABASE_URL": postgres_url.replace(f"{user}@", f"{user}:{PASSWORD}@"),
        "DROVER_TOKEN_AUTH_FILE": str(tokens),
        "DROVER_LOG_FORMAT": "json",
    }
    flags = ("--port", "0", "--data-dir", str(tmp_path / "data"), "--lab-dir", str(tmp_path / "lab"))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.main", "serve", *flags],
            cwd=ROOT, env=environment(tmp_path, **variables), stdout=subprocess.PIPE, stderr=log, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            url = said(process, "serves ")
            trust = str(tmp_path / "data" / "tls" / "ca.crt")
            with httpx.Client(base_url=url, verify=ssl.create_default_context(cafile=trust), timeout=20) as client:
                answers = [
                    client.get("/api/v1/nodes", headers={"authorization": f"Bearer {TOKEN}"}),
                    client.get("/api/v1/nodes", headers={"authorization": f"Bearer {WRONG}"}),
                    client.get(f"/api/v1/nodes?token={WRONG}"),
                    client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}),
                    client.get("/readyz?verbose"),
                ]
            seen = list(arguments(process))
        finally:
            process.terminate()
            rest, _ = process.communicate(timeout=40)

    logged = (tmp_path / "log").read_text()
    assert [answer.status_code for answer in answers][1] == 401
    assert any("credentials refused" in line for line in logged.splitlines()), logged
    assert all(json.loads(line)["level"] for line in logged.splitlines())
    # The service, its fork server, and what that needs.
    assert len(seen) >= 2, seen
    told = [logged, rest, *seen, *(answer.text for answer in answers), *(str(answer.headers) for answer in answers)]
    for secret in HIDDEN:
        assert not [text for text in told if secret in text], secret


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://drover:{PASSWORD}@db/drover",
        f"postgresql://drover:{PASSWORD}@[broken/drover",
        f"drover:{PASSWORD}@db/drover",
    ],
)
def test_a_url_that_is_wrong_is_not_repeated(url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=SecretStr(url), data_dir=tmp_path)

    with pytest.raises(Misconfigured) as refused:
        database_url(settings)

    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(settings)


def test_one_that_cannot_reach_its_database_tells_none(tmp_path: Path) -> None:
    variables = {
        "DROVER_DATABASE_URL": f"postgresql://drover:{PASSWORD}@127.0.0.1:1/drover",
        "DROVER_DATABASE_WAIT_S": "0.5",
    }
    done = subprocess.run(
        [sys.executable, "-m", "app.main", "serve", "--no-workers", "--port", "0", "--data-dir", str(tmp_path)],
        cwd=ROOT, env=environment(tmp_path, **variables), capture_output=True, text=True, timeout=100,
    )  # fmt: skip

    assert done.returncode == 3, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert "127.0.0.1:1" in done.stderr
