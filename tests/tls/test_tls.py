"""TLS on the listener: what a client is shown, when that changes, and what is refused in one line."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from app.certificates import Pair, make_authority, make_serving
from app.commands import for_health
from app.settings import Settings
from app.tls import Chain, Given, Own, Tls, TlsError, authority_of, tls_of

AUTHORITY = make_authority(datetime.now(UTC))


def write(folder: Path, pair: Pair | None = None) -> Chain:
    """A certificate and its key as an operator has them."""
    made = pair or make_serving(AUTHORITY, ("localhost",), datetime.now(UTC))
    chain = Chain(folder / "tls.crt", folder / "tls.key")
    chain.certificate.write_bytes(made.public())
    chain.key.write_bytes(
        made.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return chain


def client_of(authority: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def shown(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> tuple[int, str, str | None]:
    """A handshake without a network: the serial number of the certificate, the protocol, and ALPN's choice."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (asking, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    certificate = asking.getpeercert(binary_form=True)
    assert certificate is not None
    serial = x509.load_der_x509_certificate(certificate).serial_number
    return serial, asking.version() or "", asking.selected_alpn_protocol()


def test_own_certificates_are_trusted_by_every_name_of_the_listener(tmp_path: Path) -> None:
    tls = Tls(Own(tmp_path, "10.1.2.3"))

    for name in ("localhost", "127.0.0.1", "::1", "10.1.2.3", os.uname().nodename):
        _, protocol, alpn = shown(tls.context, client_of(tls.authority), name)
        assert (protocol, alpn) == ("TLSv1.3", "http/1.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(tls.context, client_of(tls.authority), "elsewhere")


def test_nobody_trusts_them_without_the_authority(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(Tls(Own(tmp_path, "127.0.0.1")).context, ssl.create_default_context())


def test_a_client_of_before_tls_1_2_is_refused(tmp_path: Path) -> None:
    tls = Tls(Own(tmp_path, "127.0.0.1"))
    old, new = client_of(tls.authority), client_of(tls.authority)
    new.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.deprecated_call():
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1

    assert shown(tls.context, new)[1] == "TLSv1.2"
    with pytest.raises(ssl.SSLError):
        shown(tls.context, old)


def test_a_restart_shows_the_same(tmp_path: Path) -> None:
    before = Tls(Own(tmp_path, "127.0.0.1"))
    after = Tls(Own(tmp_path, "127.0.0.1"))

    assert after.authority == before.authority
    assert shown(after.context, client_of(before.authority)) == shown(before.context, client_of(before.authority))


def test_an_expired_certificate_is_renewed_while_the_listener_runs(tmp_path: Path) -> None:
    own = Own(tmp_path, "127.0.0.1")
    tls = Tls(own)
    authority = Pair.read(tmp_path / "tls" / "ca.pem")
    assert authority is not None
    make_serving(authority, ("localhost",), datetime.now(UTC) - timedelta(days=400)).write(
        tmp_path / "tls" / "serving.pem"
    )

    assert tls.refresh(own.chain())
    shown(tls.context, client_of(tls.authority))


def test_a_given_certificate_is_loaded_anew_when_it_changes(tmp_path: Path) -> None:
    given = Given(write(tmp_path))
    tls = Tls(given)
    client = client_of(AUTHORITY.public().decode())
    first = shown(tls.context, client)

    unchanged = tls.refresh(given.chain())
    write(tmp_path)
    changed = tls.refresh(given.chain())

    assert (unchanged, changed) == (False, True)
    assert shown(tls.context, client)[0] != first[0]


def test_a_certificate_that_went_bad_leaves_the_former_one_shown(tmp_path: Path) -> None:
    chain = write(tmp_path)
    tls = Tls(Given(chain))
    client = client_of(AUTHORITY.public().decode())
    first = shown(tls.context, client)
    chain.certificate.write_bytes(make_serving(AUTHORITY, ("localhost",), datetime.now(UTC)).public())

    with pytest.raises(TlsError, match="is not that of the certificate"):
        tls.refresh(chain)

    assert shown(tls.context, client) == first


async def test_the_running_listener_waits_for_files_that_fit(tmp_path: Path) -> None:
    chain = write(tmp_path)
    tls = Tls(Given(chain), look_s=0.01)
    client = client_of(AUTHORITY.public().decode())
    first = shown(tls.context, client)
    keeping = asyncio.create_task(tls.keep())
    try:
        with structlog.testing.capture_logs() as said:
            chain.certificate.unlink()
            await until(lambda: bool(said))
            between = shown(tls.context, client)
            write(tmp_path)
            await until(lambda: shown(tls.context, client) != first)
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])

    assert between == first
    assert [entry["log_level"] for entry in said] == ["warning", "info"]


async def until(seen: Callable[[], bool]) -> None:
    """Looks until it is so."""
    async with asyncio.timeout(10):
        while not seen():  # noqa: ASYNC110 - nothing tells a test what a handshake would show
            await asyncio.sleep(0.01)


def test_a_given_chain_is_trusted_by_its_root_where_it_has_one(tmp_path: Path) -> None:
    chain = write(tmp_path)
    without = Tls(Given(chain)).authority
    chain.certificate.write_bytes(chain.certificate.read_bytes() + AUTHORITY.public())

    assert without == ""
    assert Tls(Given(chain)).authority == AUTHORITY.public().decode()


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("tls.crt", "nowhere", "nowhere: No such file"),
        ("nowhere", "tls.key", "nowhere: No such file"),
        ("tls.crt", ".", "Is a directory"),
        ("tls.key", "tls.key", "holds no certificate"),
        ("tls.crt", "tls.crt", "holds no private key"),
        ("tls.crt", "other.key", "is not that of the certificate"),
        ("tls.crt", "encrypted.key", "is encrypted"),
        ("cut.crt", "tls.key", "cannot use .*cut.crt"),
        ("tls.crt", "cut.key", "cannot use .*cut.key"),
    ],
)
def test_wrong_files_are_one_line(tmp_path: Path, certificate: str, key: str, words: str) -> None:
    (tmp_path / "x").mkdir()
    write(tmp_path / "x")
    (tmp_path / "x" / "tls.key").rename(tmp_path / "other.key")
    pair = make_serving(AUTHORITY, ("localhost",), datetime.now(UTC))
    chain = write(tmp_path, pair)
    (tmp_path / "cut.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "cut.key").write_bytes(chain.key.read_bytes()[:60])
    (tmp_path / "encrypted.key").write_bytes(
        pair.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )

    with pytest.raises(TlsError, match=words) as refused:
        tls_of(Settings(tls_cert=tmp_path / certificate, tls_key=tmp_path / key))

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(tls_cert=Path("/a")), "--tls-key .* is missing"),
        (Settings(tls_key=Path("/a")), "--tls-cert .* is missing"),
        (Settings(tls=False, tls_cert=Path("/a"), tls_key=Path("/b")), "contradicts"),
        (Settings(tls=True, data_dir=Path("/proc/nowhere")), "/proc/nowhere"),
    ],
)
def test_wrong_settings_are_one_line(settings: Settings, words: str) -> None:
    with pytest.raises(TlsError, match=words):
        tls_of(settings)


@pytest.mark.parametrize(
    ("settings", "port"),
    [
        (Settings(), 8443),
        (Settings(tls=True), 8443),
        (Settings(tls_cert=Path("/a"), tls_key=Path("/b")), 8443),
        (Settings(tls=False), 8080),
        (Settings(tls=True, port=0), 0),
    ],
)
def test_the_port_is_that_of_the_protocol_unless_it_is_said(settings: Settings, port: int) -> None:
    assert settings.listen_port == port


def test_only_when_it_is_asked_for_there_is_no_tls(tmp_path: Path) -> None:
    assert tls_of(Settings(tls=False, data_dir=tmp_path)) is None
    assert list(tmp_path.iterdir()) == []
    assert tls_of(Settings(data_dir=tmp_path)) is not None


def test_a_client_here_trusts_what_the_data_folder_holds_or_what_it_is_given(tmp_path: Path) -> None:
    nothing = authority_of(tmp_path, None)
    own = Tls(Own(tmp_path, "127.0.0.1")).authority

    assert nothing == ""
    assert authority_of(tmp_path, None) == own
    assert authority_of(Path("/nowhere"), tmp_path / "tls" / "ca.crt") == own
    with pytest.raises(TlsError, match="nowhere"):
        authority_of(tmp_path, Path("/nowhere"))


def test_a_worker_on_loopback_needs_no_certificate_and_minds_none(tmp_path: Path) -> None:
    """`drover work` in the shell in which `drover serve` was given one."""
    chain = write(tmp_path)
    given = Settings(data_dir=tmp_path, tls_cert=chain.certificate, tls_key=chain.key, aggregated=True)
    elsewhere = given.model_copy(update={"health_bind": "0.0.0.0"})

    assert tls_of(for_health(given)) is None
    assert tls_of(for_health(elsewhere)) is not None
