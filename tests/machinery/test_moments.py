"""Moments as a client wrote them, and as they are stored."""

from __future__ import annotations

import pytest

from app.machinery.objects import in_utc


@pytest.mark.parametrize("said, written", [
    ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05Z"),
    ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
    ("0081-04-14T18:19:36.5+00:00", "0081-04-14T18:19:36Z"),
    ("0001-01-01T00:00:00+01:00", "0001-01-01T00:00:00+01:00"),
    ("yesterday", "yesterday"),
])  # fmt: skip
def test_a_moment_is_written_in_utc_and_whole_seconds(said: str, written: str) -> None:
    assert in_utc(said) == written


@pytest.mark.parametrize("said, written", [
    ("2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.123456Z"),
    ("2026-01-02T03:04:05.123456+02:00", "2026-01-02T01:04:05.123456Z"),
])  # fmt: skip
def test_a_moment_may_be_told_to_the_microsecond(said: str, written: str) -> None:
    assert in_utc(said, micro=True) == written
