"""Who is asking: each sort of credentials, right, wrong, and where it does not count."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app.api.auth.anonymous import TrustLoopback
from app.api.auth.base import AnyAuthenticator, Authenticator, Peer, Unauthorized
from app.api.auth.frontproxy import FrontProxy
from app.api.auth.tokenfile import TokenFile
from app.api.auth.x509 import AuthoritiesError, ClientCertificates
from app.api.files import FileError
from app.machinery.access import ADMINISTRATOR, User
from tests.api.auth.people import CLIENTS, NOW, PROXIES, STRANGERS, authorities, credentials, peer


async def refused(authenticator: Authenticator, peer: Peer, *headers: tuple[str, str]) -> str:
    with pytest.raises(Unauthorized) as error:
        await authenticator.authenticate(credentials(*headers, peer=peer))
    return str(error.value)


async def test_a_certificate_names_a_user_and_groups() -> None:
    known = ClientCertificates(authorities(CLIENTS))

    user = await known.authenticate(credentials(peer=peer(CLIENTS, "jane", "movers", "viewers")))

    assert user == User("jane", ("movers", "viewers"))


async def test_without_a_certificate_nobody_is_named() -> None:
    assert await ClientCertificates(authorities(CLIENTS)).authenticate(credentials(peer=peer())) is None


@pytest.mark.parametrize(
    ("connection", "why"),
    [
        (peer(STRANGERS), "unknown authority"),
        (peer(CLIENTS, made=NOW - timedelta(days=3)), "expired"),
        (peer(CLIENTS, made=NOW + timedelta(days=3)), "not valid before"),
        (peer(CLIENTS, ""), "no common name"),
    ],
    ids=["foreign", "expired", "not yet valid", "of nobody"],
)
async def test_other_certificates_are_refused(connection: Peer, why: str) -> None:
    assert why in await refused(ClientCertificates(authorities(CLIENTS)), connection)


async def test_a_certificate_stops_to_count_while_its_connection_lasts() -> None:
    time = NOW.timestamp()
    trusted = authorities(CLIENTS)
    known = ClientCertificates(trusted, lambda: time)
    connection = peer(CLIENTS)

    first = await known.authenticate(credentials(peer=connection))
    time += timedelta(days=2).total_seconds()
    late = await refused(known, connection)
    time = NOW.timestamp()
    trusted.replace(STRANGERS.public().decode())
    later = await refused(known, connection)

    assert first == User("jane")
    assert "expired" in late
    assert "unknown authority" in later


def test_authorities_that_are_none_are_one_line(tmp_path: Path) -> None:
    trusted = authorities(CLIENTS)

    with pytest.raises(AuthoritiesError, match="no certificates in PEM form"):
        trusted.replace("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    assert trusted.pem == CLIENTS.public().decode()


REMOTE = (
    ("X-Remote-User", "jane"), ("X-Remote-Group", "movers"), ("X-Remote-Group", "viewers"), ("X-Remote-Uid", "7"),
    ("X-Remote-Extra-Acme%2Fteam", "a"), ("X-Remote-Extra-acme%2fteam", "b"),
)  # fmt: skip


async def test_the_front_proxy_says_who_it_is() -> None:
    proxy = FrontProxy(authorities(PROXIES), ("front",))

    user = await proxy.authenticate(credentials(*REMOTE, peer=peer(PROXIES, "front")))

    assert user == User("jane", ("movers", "viewers"), "7", (("acme/team", ("a", "b")),))


async def test_any_name_of_the_authority_does_where_none_is_named() -> None:
    user = await FrontProxy(authorities(PROXIES)).authenticate(credentials(*REMOTE, peer=peer(PROXIES, "any")))

    assert user is not None and user.name == "jane"


async def test_the_headers_say_nothing_over_other_connections() -> None:
    proxy = FrontProxy(authorities(PROXIES), ("front",))

    assert await proxy.authenticate(credentials(*REMOTE, peer=peer())) is None
    assert "unknown authority" in await refused(proxy, peer(CLIENTS, "front"), *REMOTE)
    assert "not allowed" in await refused(proxy, peer(PROXIES, "back"), *REMOTE)


async def test_a_users_own_certificate_counts_whatever_headers_come_with_it() -> None:
    both = AnyAuthenticator([FrontProxy(authorities(PROXIES)), ClientCertificates(authorities(CLIENTS))])

    user = await both.authenticate(credentials(("X-Remote-User", "root"), peer=peer(CLIENTS, "jane")))

    assert user == User("jane")


TOKENS = 'secret,jane,7,"movers, viewers"\nother,joe,\n# a comment,x,y\n\n'


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.csv"
    path.write_text(TOKENS)
    return path


async def test_tokens_of_the_file(tokens: Path) -> None:
    known = TokenFile(tokens)

    assert await known.authenticate(credentials(("Authorization", "Bearer secret"), peer=peer())) == User(
        "jane", ("movers", "viewers"), "7"
    )
    assert await known.authenticate(credentials(("Authorization", "bearer other"), peer=peer())) == User("joe")
    assert await known.authenticate(credentials(("Authorization", "Basic c2VjcmV0"), peer=peer())) is None
    assert await known.authenticate(credentials(peer=peer())) is None


@pytest.mark.parametrize("said", ["Bearer Secret", "Bearer ", "Bearer secret other", "Bearer ü"])
async def test_other_tokens_are_refused(tokens: Path, said: str) -> None:
    assert await refused(TokenFile(tokens), peer(), ("Authorization", said)) == "invalid bearer token"


def write(path: Path, text: str, ns: int) -> None:
    path.write_text(text)
    os.utime(path, ns=(ns, ns))


async def test_a_changed_file_counts_and_a_broken_one_does_not(tokens: Path) -> None:
    known = TokenFile(tokens)
    write(tokens, "newer,jane,7\n", 1)

    changed = known.file.refresh()
    unchanged = known.file.refresh()
    write(tokens, "newest\n", 2)
    with pytest.raises(FileError, match="line 1") as error:
        known.file.refresh()

    assert (changed, unchanged) == (True, False)
    assert "newest" not in str(error.value)
    assert await known.authenticate(credentials(("Authorization", "Bearer newer"), peer=peer())) == User(
        "jane", (), "7"
    )
    assert await refused(known, peer(), ("Authorization", "Bearer secret"))


HERE: Callable[[], Peer] = lambda: peer(address="127.0.0.1", local="127.0.0.1")  # noqa: E731 - a connection for each row


@pytest.mark.parametrize(
    ("connection", "headers", "trusted"),
    [
        (HERE(), {"Host": "127.0.0.1:8080"}, True),
        (HERE(), {"Host": "localhost"}, True),
        (peer(address="::1", local="::1"), {"Host": "[::1]:8080"}, True),
        (peer(address="127.0.0.1", local="192.0.2.1"), {"Host": "localhost"}, False),
        (peer(address="192.0.2.9", local="127.0.0.1"), {"Host": "localhost"}, False),
        (peer(), {"Host": "localhost"}, False),
        (HERE(), {"Host": "evil.example:8080"}, False),
        (HERE(), {}, False),
        (HERE(), {"Host": "localhost", "Origin": "http://evil.example"}, False),
        (HERE(), {"Host": "localhost", "X-Forwarded-For": "192.0.2.1"}, False),
        (HERE(), {"Host": "localhost", "Authorization": "Bearer x"}, False),
    ],
)
async def test_only_who_is_here_and_brings_nothing_is_trusted(
    connection: Peer, headers: dict[str, str], trusted: bool
) -> None:
    user = await TrustLoopback().authenticate(credentials(*headers.items(), peer=connection))

    assert user == (ADMINISTRATOR if trusted else None)
