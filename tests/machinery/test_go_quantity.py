"""Quantities as kube-apiserver 1.36 answers them in a Node's status."""

from __future__ import annotations

import pytest

from app.machinery.go_quantity import WRONG, WRONG_SUFFIX, NotAQuantity, canonical

KEPT = (
    "2", "1e3", "0010", "1E", "+5", "1e-3", "5e6", "0", "512Ki", "12e9999", "1500Mi", "1023Ki", "7Ki", "1.", "1e18", "1e21",
    "-1", "1500E", "1e0003", "12345678901234567890E", "12345678901234567890123e3",
)  # fmt: skip
WRITTEN = {
    "1000m": "1", "1024Ki": "1Mi", "0.5": "500m", ".5": "500m", "1024Mi": "1Gi", "1.5": "1500m", "1.5Gi": "1536Mi",
    "1.0": "1", "1000000": "1M", "1000k": "1M", "12000": "12k", "0.0001": "1m", "1n": "1m", "0.1n": "1m", "1e4": "10e3",
    "1E4": "10e3", "1e1": "10", "12e2": "1200", "100e-5": "1e-3", "00": "0", "0.0": "0", "0Ki": "0", "0.5Ki": "512",
    "0.3Ki": "307200m", "7.9Gi": "8482560409600m", "9Ei": "9223372036854775807", "-1024Ki": "-1Mi", " 1 ": "1", ".": "0",
    "1e1000": "10e999", "1e+1001": "100e999", "1e-1000": "1e-3", "12345678901234567890123e-1000": "1e-3", "0e99999": "0",
    "1234567890123456789012e1000": "12345678901234567890120e999", "1000000000M": "1P", "1000P": "1E", "1000E": "1",
    "-5000000E": "-5",
}  # fmt: skip


@pytest.mark.parametrize("text", KEPT)
def test_what_is_canonical_stays(text: str) -> None:
    assert canonical(text) == text


@pytest.mark.parametrize(("text", "written"), WRITTEN.items())
def test_what_is_not_is_written_in_one_way(text: str, written: str) -> None:
    assert canonical(text) == written
    assert canonical(written) == written


@pytest.mark.parametrize("text", ["", "x", "4X", "1 Gi", "true", "1.2.3", "1e2e3", "9" * 5000, f"0.{'1' * 5000}"])
def test_what_is_no_quantity_is_refused_in_gos_words(text: str) -> None:
    with pytest.raises(NotAQuantity, match="quantit") as refused:
        canonical(text)

    assert str(refused.value) in (WRONG, WRONG_SUFFIX)


@pytest.mark.parametrize("text", ["4MM", "1e", "1kk", "1e99999999999"])
def test_an_unknown_suffix_is_refused_in_gos_words(text: str) -> None:
    with pytest.raises(NotAQuantity) as refused:
        canonical(text)

    assert str(refused.value) == WRONG_SUFFIX
