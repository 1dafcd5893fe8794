"""ID tokens of an OpenID Connect issuer that really listens: who they are, the keys behind them, and every way in which one does
not count."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from structlog.testing import capture_logs

from app.access import AccessError, access_of, trust_of
from app.api.auth.base import AnyAuthenticator, Unauthorized
from app.api.auth.oidc import OidcTokens, Reading
from app.certificates import make_authority, make_serving, make_signing_key
from app.machinery.access import User
from app.oidc import issuer as timing
from app.oidc.base import IssuerKeys
from app.oidc.issuer import Issuer
from app.settings import Settings
from tests.api.auth.people import credentials, peer

AUTHORITY = make_authority(datetime.now(UTC))


@lru_cache
def rsa(name: str) -> Any:
    """A key for each name; making one takes long."""
    return RSAAlgorithm(RSAAlgorithm.SHA256).prepare_key(make_signing_key())


def jwk(name: str, **more: Any) -> dict[str, Any]:
    return RSAAlgorithm.to_jwk(rsa(name).public_key(), as_dict=True) | {"kid": name, "use": "sig"} | more


@dataclass
class Idp:
    """The issuer: what it tells, and how often it was asked."""

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    silent: bool = False
    pages: dict[str, bytes] = field(default_factory=dict)
    """Instead of what it would tell."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        self.asked += 1
        if self.silent:
            await reader.read()
        else:
            told = self.pages.get(path) or json.dumps(self._told(path)).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(told)}\r\n"
            writer.write(head.encode() + b"Connection: close\r\n\r\n" + told)
            await writer.drain()
        writer.close()

    def _told(self, path: str) -> dict[str, Any]:
        if path == "/keys":
            return {"keys": self.keys}
        return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}

    def token(self, key: str = "k1", *, signer: Any = None, algorithm: str = "RS256", **claims: Any) -> str:
        now = int(time.time())
        said = {"iss": self.url, "aud": "drover", "sub": "jane", "iat": now, "exp": now + 300} | claims
        told = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(told, signer or rsa(key), algorithm=algorithm, headers={"kid": key})


@pytest.fixture
async def idp(tmp_path: Path) -> AsyncIterator[Idp]:
    make_serving(AUTHORITY, ["127.0.0.1"], datetime.now(UTC)).write(tmp_path / "idp.pem")
    (tmp_path / "idp-ca.pem").write_bytes(AUTHORITY.public())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "idp.pem")
    made = Idp(keys=[jwk("k1")])
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()
    made.silent = False


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def known(
    stack: AsyncExitStack, idp: Idp, folder: Path, clock: Callable[[], float] = time.monotonic, wait_s: float = 10
) -> Issuer:
    """Its keys as Drover keeps them; stopped with the test."""
    made = Issuer(idp.url, folder / "idp-ca.pem", wait_s=wait_s, clock=clock)
    task = asyncio.create_task(made.run())

    async def stop() -> None:
        task.cancel()
        await asyncio.wait([task])

    stack.push_async_callback(stop)
    return made


async def judged(tokens: OidcTokens, token: str) -> User | None:
    return await tokens.authenticate(credentials(("Authorization", f"Bearer {token}"), peer=peer()))


def reading(idp: Idp, **changed: Any) -> Reading:
    return Reading(issuer=idp.url, client_id="drover", **changed)


async def test_the_claims_name_a_user_and_groups(stack: AsyncExitStack, idp: Idp, tmp_path: Path) -> None:
    keys: IssuerKeys = await known(stack, idp, tmp_path)
    plain = OidcTokens(reading(idp), keys)
    mail = OidcTokens(
        reading(idp, username_claim="email", groups_claim="teams", groups_prefix="idp:", required={"hd": "acme"}), keys
    )

    jane = await judged(plain, idp.token())
    joe = await judged(mail, idp.token(email="joe@acme", email_verified=True, teams=["movers", "ops"], hd="acme"))
    one = await judged(mail, idp.token(email="joe@acme", teams="movers", hd="acme", aud=["x", "drover"]))

    assert jane == User("jane")
    assert joe == User("joe@acme", ("idp:movers", "idp:ops"))
    assert one == User("joe@acme", ("idp:movers",))
    assert idp.asked == 2


async def test_every_wrong_token_is_refused(stack: AsyncExitStack, idp: Idp, tmp_path: Path) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    secret = {"kty": "oct", "kid": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}
    ours = ECAlgorithm.to_jwk(curve.public_key(), as_dict=True) | {"kid": "ec"}
    idp.keys = [jwk("k1"), jwk("enc", use="enc"), secret, ours, {"kty": "RSA", "kid": "broken"}]
    keys = await known(stack, idp, tmp_path)
    tokens = OidcTokens(reading(idp, groups_claim="groups", required={"hd": "acme"}), keys)
    mail = OidcTokens(reading(idp, username_claim="email"), keys)
    now = int(time.time())
    rows = {
        "expired": idp.token(exp=now - 60, hd="acme"),
        "not yet valid": idp.token(nbf=now + 300, hd="acme"),
        "without an end": idp.token(exp=None, hd="acme"),
        "for others": idp.token(aud="vault", hd="acme"),
        "for nobody": idp.token(aud=None, hd="acme"),
        "a foreign key under the issuer's name of one": idp.token(signer=rsa("foreign"), hd="acme"),
        "a foreign key": idp.token("foreign", hd="acme"),
        "a key that encrypts": idp.token("enc", hd="acme"),
        "unsigned": jwt.encode({"iss": idp.url, "aud": "drover", "sub": "jane", "exp": now + 60}, "", algorithm="none"),
        "a secret of the key set": idp.token("oct", signer="secret-secret-secret-secret-secret", algorithm="HS256"),
        "an algorithm that is not allowed": idp.token(algorithm="RS512", hd="acme"),
        "an elliptic key as RSA": idp.token("ec", hd="acme"),
        "an elliptic algorithm": idp.token("ec", signer=curve, algorithm="ES256", hd="acme"),
        "nobody": idp.token(sub="", hd="acme"),
        "no text": idp.token(sub="x", groups={"a": 1}, hd="acme"),
        "groups that are no texts": idp.token(groups=[1], hd="acme"),
        "without what is required": idp.token(),
        "of Drover's own": idp.token(sub="system:admin", hd="acme"),
    }  # fmt: skip

    accepted = []
    for row, wrong in rows.items():
        try:
            accepted.append((row, await judged(tokens, wrong)))
        except Unauthorized:
            continue
    with pytest.raises(Unauthorized, match="not verified"):
        await judged(mail, idp.token(email="jane@acme", email_verified=False))
    other = await judged(tokens, idp.token(iss="https://evil.example", hd="acme"))
    right = await judged(tokens, idp.token(groups=["ops", "system:masters"], hd="acme"))

    assert accepted == []
    assert other is None
    assert right == User("jane", ("ops",))


async def test_keys_are_fetched_anew_and_old_ones_end(stack: AsyncExitStack, idp: Idp, tmp_path: Path) -> None:
    clock = Clock()
    tokens = OidcTokens(reading(idp), await known(stack, idp, tmp_path, clock))
    first = await judged(tokens, idp.token())
    clock.now += timing.AGAIN_S
    idp.keys = [jwk("k2")]
    newer = await judged(tokens, idp.token("k2"))
    asked = idp.asked
    refused = await asyncio.gather(*(judged(tokens, idp.token("foreign")) for _ in range(20)), return_exceptions=True)
    with pytest.raises(Unauthorized, match="no key of its issuer"):
        await judged(tokens, idp.token("k1"))

    assert first == newer == User("jane")
    assert all(isinstance(one, Unauthorized) for one in refused)
    assert idp.asked == asked == 4


async def test_while_the_issuer_is_away_its_keys_count_on_and_then_no_more(
    stack: AsyncExitStack, idp: Idp, tmp_path: Path
) -> None:
    clock = Clock()
    tokens = OidcTokens(reading(idp), await known(stack, idp, tmp_path, clock, wait_s=0.5))
    await judged(tokens, idp.token())
    idp.silent = True
    clock.now += timing.STALE_S
    within = await judged(tokens, idp.token())
    clock.now += 1

    with capture_logs() as logged, pytest.raises(Unauthorized, match="does not tell its keys"):
        await asyncio.wait_for(judged(tokens, idp.token()), 5)

    assert within == User("jane")
    assert any("issuer" in str(line["event"]) for line in logged)


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        ({"/.well-known/openid-configuration": b'{"issuer":"https://evil.example"}'}, "calls itself"),
        ({"/.well-known/openid-configuration": b"<html>"}, "JSON|unexpected"),
        ({"/.well-known/openid-configuration": b'{"issuer":"URL","jwks_uri":"http://127.0.0.1/keys"}'}, "no https"),
        ({"/keys": b'{"keys":[]}'}, "no key that signs"),
        ({"/keys": b" " * (timing.MOST_BYTES + 1)}, "more than"),
    ],
    ids=["another issuer", "no JSON", "keys in the clear", "no keys", "too much"],
)
async def test_an_issuer_that_tells_nonsense_is_one_line(
    stack: AsyncExitStack, idp: Idp, tmp_path: Path, pages: dict[str, bytes], why: str
) -> None:
    idp.pages = {path: page.replace(b"URL", idp.url.encode()) for path, page in pages.items()}
    tokens = OidcTokens(reading(idp), await known(stack, idp, tmp_path))

    with capture_logs() as logged, pytest.raises(Unauthorized, match=why):
        await judged(tokens, idp.token())

    assert len([line for line in logged if line["event"] == "the issuer of tokens does not tell its keys"]) == 1


async def test_a_certificate_of_somebody_else_is_not_believed(stack: AsyncExitStack, idp: Idp, tmp_path: Path) -> None:
    (tmp_path / "idp-ca.pem").write_bytes(make_authority(datetime.now(UTC)).public())
    tokens = OidcTokens(reading(idp), await known(stack, idp, tmp_path))

    with pytest.raises(Unauthorized, match=r"(?i)certificate verify failed"):
        await judged(tokens, idp.token())

    assert idp.asked == 0


async def test_the_settings_lead_to_it(stack: AsyncExitStack, idp: Idp, tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        oidc_issuer_url=idp.url,
        oidc_client_id="drover",
        oidc_groups_claim="groups",
        oidc_groups_prefix="idp:",
        oidc_ca_file=tmp_path / "idp-ca.pem",
        oidc_required_claims={"hd": "acme"},
    )
    access = access_of(settings, trust_of(settings))
    running = [asyncio.create_task(part()) for part in access.parts]

    async def stop() -> None:
        for task in running:
            task.cancel()
        await asyncio.wait(running)

    stack.push_async_callback(stop)
    known = AnyAuthenticator(access.authenticators)
    bearer = ("Authorization", f"Bearer {idp.token(groups=['ops'], hd='acme')}")

    user = await known.authenticate(credentials(bearer, peer=peer()))
    with pytest.raises(Unauthorized, match="claim hd"):
        await known.authenticate(credentials(("Authorization", f"Bearer {idp.token()}"), peer=peer()))

    assert user == User(f"{idp.url}#jane", ("idp:ops",))


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ({"oidc_issuer_url": "http://idp"}, "must be an https address"),
        ({"oidc_issuer_url": "https://u:p@idp"}, "must be an https address"),
        ({"oidc_issuer_url": "https://idp"}, "DROVER_OIDC_CLIENT_ID"),
        ({"oidc_issuer_url": "https://idp", "oidc_client_id": "d", "oidc_signing_algs": ("HS256",)}, "HS256"),
        ({"oidc_issuer_url": "https://idp", "oidc_client_id": "d", "oidc_ca_file": "/none"}, "DROVER_OIDC_CA_FILE"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path: Path, chosen: dict[str, Any], why: str) -> None:
    settings = Settings(data_dir=tmp_path, **chosen)

    with pytest.raises(AccessError, match=why) as error:
        access_of(settings, trust_of(settings))

    assert "\n" not in str(error.value)
