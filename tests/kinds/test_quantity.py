"""Quantities are exact, and rounded up where a whole number is wanted."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kinds.quantity import PATTERN, NotAQuantity, binary, milli, millis, parse, whole

SUFFIXES = ["", "n", "u", "m", "k", "Ki", "M", "Mi", "G", "Gi", "T", "Ti", "P", "Pi", "E", "Ei", "e3", "E-2"]
TEXTS = st.builds(
    "{}{}{}".format, st.integers(0, 10**12), st.sampled_from(["", ".", ".5", ".125"]), st.sampled_from(SUFFIXES)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("64Mi", 64 * 2**20),
        ("64M", 64 * 10**6),
        ("1.5Gi", 3 * 2**29),
        ("2k", 2000),
        ("1e3", 1000),
        ("12E", 12 * 10**18),
        ("1E3", 1000),
        ("2Ei", 2**61),
        ("500m", 1),
        ("1.", 1),
        ("1001m", 2),
    ],
)
def test_whole_rounds_up(text: str, expected: int) -> None:
    assert whole(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("500m", 500), ("2", 2000), ("0.1", 100), ("1u", 1), ("1.0001", 1001), ("2k", 2_000_000)]
)
def test_milli_counts_thousandths(text: str, expected: int) -> None:
    assert milli(text) == expected


@pytest.mark.parametrize(
    "text", ["", "Mi", "64MiB", "64mi", "-1", "+1", "1 Mi", "1,5", "0x10", "1e", "1e999", "9" * 40, "٣", "1\n"]
)
def test_anything_else_is_not_a_quantity(text: str) -> None:
    with pytest.raises(NotAQuantity):
        parse(text)


@given(TEXTS)
def test_the_schema_takes_what_is_read(text: str) -> None:
    assert re.search(PATTERN, text)
    assert parse(text) >= 0


@given(st.text(max_size=12))
def test_nothing_is_read_that_the_schema_refuses(text: str) -> None:
    try:
        parse(text)
    except NotAQuantity:
        return
    assert re.fullmatch(PATTERN, text)


@given(st.integers(0, 2**62))
def test_bytes_survive_being_written(size: int) -> None:
    assert whole(binary(size)) == size


@given(st.integers(0, 10**9))
def test_thousandths_survive_being_written(thousandths: int) -> None:
    assert milli(millis(thousandths)) == thousandths


@given(TEXTS)
def test_whole_is_the_least_integer_above(text: str) -> None:
    assert parse(text) <= whole(text) < parse(text) + Fraction(1)
