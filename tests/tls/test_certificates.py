"""Certificates of Drover's own making: kept, renewed in time, made once by many."""

from __future__ import annotations

import multiprocessing
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from app.certificates import (
    AUTHORITY_LASTS,
    RENEW_BEFORE,
    SERVING_LASTS,
    Pair,
    SelfSigned,
    make_authority,
    make_serving,
    root_in,
)

NAMES = ("localhost", "127.0.0.1", "::1", "h1")
START = datetime(2026, 1, 1, tzinfo=UTC)


def made(folder: Path, now: datetime = START, names: tuple[str, ...] = NAMES) -> tuple[bytes, bytes]:
    """What stands in the two files afterwards."""
    files = SelfSigned(folder, names, lambda: now)
    files.ensure()
    return files.authority.read_bytes(), files.serving.read_bytes()


def make_at(folder: Path) -> None:
    SelfSigned(folder, NAMES).ensure()


def certificate(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "serving.pem").read_bytes())


def test_both_are_kept_while_they_last(tmp_path: Path) -> None:
    first = made(tmp_path)

    assert made(tmp_path, START + SERVING_LASTS - RENEW_BEFORE - timedelta(days=1)) == first


@pytest.mark.parametrize("after", [SERVING_LASTS - RENEW_BEFORE + timedelta(days=1), SERVING_LASTS * 2])
def test_a_serving_certificate_is_renewed_before_and_after_it_expires(tmp_path: Path, after: timedelta) -> None:
    authority, serving = made(tmp_path)

    later = made(tmp_path, START + after)

    assert later[0] == authority
    assert later[1] != serving
    assert certificate(tmp_path).not_valid_after_utc == START + after + SERVING_LASTS


def test_an_authority_about_to_expire_is_replaced_with_what_it_signed(tmp_path: Path) -> None:
    first = made(tmp_path)

    last_year = made(tmp_path, START + AUTHORITY_LASTS - RENEW_BEFORE - timedelta(days=1))
    outlives = certificate(tmp_path).not_valid_after_utc > START + AUTHORITY_LASTS
    end = made(tmp_path, START + AUTHORITY_LASTS)

    assert (last_year[0], outlives) == (first[0], False)
    assert end[0] != first[0]
    certificate(tmp_path).verify_directly_issued_by(x509.load_pem_x509_certificate(end[0]))


def test_other_names_need_another_certificate_of_the_same_authority(tmp_path: Path) -> None:
    first = made(tmp_path)

    other = made(tmp_path, names=(*NAMES, "10.0.0.1"))

    assert other[0] == first[0]
    said = certificate(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert said.get_values_for_type(x509.DNSName) == ["localhost", "h1"]
    assert [str(address) for address in said.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "10.0.0.1"]


def test_the_address_of_a_link_needs_no_new_certificate_each_time(tmp_path: Path) -> None:
    names = (*NAMES, "fe80::1%eth0")

    assert made(tmp_path, names=names) == made(tmp_path, names=names)


def test_a_certificate_for_no_name_is_replaced(tmp_path: Path) -> None:
    made(tmp_path)
    authority = Pair.read(tmp_path / "ca.pem")
    assert authority is not None
    authority.write(tmp_path / "serving.pem")

    made(tmp_path)

    assert certificate(tmp_path).subject != authority.certificate.subject


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    made(tmp_path)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert modes == {"ca.crt": 0o644, "ca.pem": 0o600, "serving.pem": 0o600, "admin.pem": 0o600, "lock": 0o600}
    assert b"PRIVATE" not in (tmp_path / "ca.crt").read_bytes()


def test_a_lost_copy_of_the_authority_is_written_again(tmp_path: Path) -> None:
    first = made(tmp_path)
    (tmp_path / "ca.crt").write_text("lost")

    assert made(tmp_path) == first


@pytest.mark.parametrize("name", ["ca.pem", "serving.pem"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    made(tmp_path)
    (tmp_path / name).write_text("broken")

    with pytest.raises(ValueError, match=f"{name} holds no certificate with its key"):
        made(tmp_path)


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    made(tmp_path)
    one, other = make_authority(START), make_authority(START)
    Pair(one.certificate, other.key).write(tmp_path / "ca.pem")

    with pytest.raises(ValueError, match="its key is not that of its certificate"):
        made(tmp_path)


def test_many_processes_make_one(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(make_at, [tmp_path] * 8)
    authority, serving = (tmp_path / "ca.crt").read_bytes(), (tmp_path / "serving.pem").read_bytes()

    make_at(tmp_path)

    assert ((tmp_path / "ca.crt").read_bytes(), (tmp_path / "serving.pem").read_bytes()) == (authority, serving)
    certificate(tmp_path).verify_directly_issued_by(x509.load_pem_x509_certificate(authority))


def test_the_root_of_a_chain_is_the_one_that_signs_itself() -> None:
    authority = make_authority(START)
    serving = make_serving(authority, NAMES, START)

    assert root_in(serving.public() + authority.public()) == authority.public()
    assert root_in(serving.public()) == b""
