"""The scans find what was planted for them, and the house passes them."""

from __future__ import annotations

import pytest

from tools.scan import judged, pin_problems, pins, secrets, secrets_in

KEY = "-----BEGIN " + "PRIVATE KEY-----\n" + "A" * 64
PLANTED = {
    "a private key": KEY,
    "a password in a URL": "postgresql://drover:" + "s3cr3t-of-ours" + "@db/drover",
    "an AWS key": "AKIA" + "A" * 16,
    "a GitHub token": "ghp_" + "a" * 36,
    "a Slack token": "xoxb-" + "1234567890-abc",
    "a JSON web token": "eyJ" + "a" * 20 + ".eyJ" + "b" * 20 + "." + "c" * 30,
}


@pytest.mark.parametrize(("what", "text"), PLANTED.items(), ids=PLANTED.keys())
def test_a_secret_is_found_and_not_repeated(what: str, text: str) -> None:
    found = list(secrets_in(f"first line\nsecond: {text}\n"))

    assert [f"{what} in line 2"] == found


INNOCENT = {
    "a password of an example": "postgresql://drover:drover@postgres/drover",
    "a place for one": "postgresql://{user}:{password}@db/drover",
    "a URL with a port": "https://127.0.0.1:8443/path@x",
    "the words of a key": "-----BEGIN PRIVATE KEY-----",
}


@pytest.mark.parametrize("text", INNOCENT.values(), ids=INNOCENT.keys())
def test_what_is_none_is_left_alone(text: str) -> None:
    assert list(secrets_in(text)) == []


def test_this_repository_has_no_secret() -> None:
    assert list(secrets()) == []


PROJECT = """
[project]
dependencies = [
  "fastapi",          # the application
  "SQLAlchemy[asyncio]", # SQL
]
[project.optional-dependencies]
dev = [
  "pytest",
]
"""
LOCK = """fastapi==1.0 \\
    --hash=sha256:aa
sqlalchemy[asyncio]==2.0 \\
    --hash=sha256:bb
pytest==9.0
"""


def test_pins_without_hash_comment_or_entry_are_found() -> None:
    assert list(pin_problems(PROJECT, LOCK)) == [
        "requirements.lock: pytest has no hash",
        'pyproject.toml: "pytest", does not say what for',
    ]
    missing = LOCK.replace("fastapi", "other")
    assert "requirements.lock: fastapi of pyproject.toml is missing; run make lock" in pin_problems(PROJECT, missing)
    addressed = "--index-url https://packages.example\n" + LOCK
    assert "requirements.lock: names an address" in pin_problems(PROJECT, addressed)


def test_the_lock_is_in_step() -> None:
    assert list(pins()) == []


def test_only_findings_that_were_looked_at_stand() -> None:
    found = {"test_id": "B608", "filename": "app/a.py", "line_number": 7, "issue_text": "SQL"}

    assert list(judged([found], {("B608", "app/a.py"): "a reason"})) == []
    assert list(judged([found], {})) == ["app/a.py:7: B608 SQL"]
    assert list(judged([], {("B608", "app/a.py"): "a reason"})) == [
        "app/a.py: B608 is found no more; take it out of tools/scan.py"
    ]
