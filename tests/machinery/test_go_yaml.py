"""YAML as kube-apiserver answers it, and reads it back."""

from __future__ import annotations

import pytest

from app.machinery.documents import parse_yaml
from app.machinery.go_yaml import written

QUOTED = (
    "", "y", "Yes", "OFF", "~", "null", "0o7", "08", "012", "0B1", "-0x5", "+5", "1e5", "1e2_3", "0.1e5", "+.5", "1.",
    "1_0", ".inf", ".NaN",
    "1:30", "190:20:30", "1:30.5", "2001-01-01", "2001-1-1", "2001-01-01T00:00:00Z", "18446744073709551616",
)  # fmt: skip
PLAIN = ("=", "<<", "1e999", "0x", "x", "a b", "._1", "0_x", "yEs", "1.2.3")


@pytest.mark.parametrize("text", QUOTED)
def test_a_text_that_would_be_read_as_something_else_is_quoted(text: str) -> None:
    assert written({"a": text}) == f'a: "{text}"\n'.encode()


@pytest.mark.parametrize("text", PLAIN)
def test_any_other_is_not(text: str) -> None:
    assert written({"a": text}) == f"a: {text}\n".encode()


@pytest.mark.parametrize(
    "value", [*QUOTED, *PLAIN, " a", "a: b", "- a", "a #b", "a\nb", 5, 1.5, True, None, 1e300, -0.5, [], {}]
)
def test_what_is_written_is_read_back(value: object) -> None:
    assert parse_yaml(written({"a": value}))[0] == {"a": value}
