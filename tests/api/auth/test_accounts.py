"""Tokens of service accounts: asked for, used, judged by others; and every way in which one does not count."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Any

import httpx
import jwt
import pytest

from app.api.auth.accounts import Account, Accounts, AccountTokens
from app.api.auth.base import Unauthorized
from app.api.auth.signing import RESOURCE, SigningKeys
from app.certificates import make_signing_key
from app.machinery.access import User
from app.store.base import Key, Scope
from app.store.postgres import PostgresStore
from tests.api.auth.conftest import Drover, until
from tests.api.auth.people import credentials, peer

ISSUER = "https://drover"
BOT = Account("default", "bot", "u-1")


@lru_cache
def made(_number: int) -> str:
    """A private key; making one takes long. The first is one that nobody here knows."""
    return make_signing_key()


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(store: PostgresStore, clock: Clock) -> SigningKeys:
    return signing(store, clock)


def signing(store: PostgresStore, clock: Clock) -> SigningKeys:
    numbers = count(1)
    return SigningKeys(
        store.objects, lambda: made(next(numbers)), signs=timedelta(days=90), lasts=timedelta(days=365), clock=clock
    )


@pytest.fixture
async def tokens(store: PostgresStore, keys: SigningKeys) -> AsyncIterator[AccountTokens]:
    await account(store)
    yield AccountTokens(keys, Accounts(store.objects), ISSUER, (ISSUER,))


async def account(store: PostgresStore, uid: str = BOT.uid) -> None:
    document = {"metadata": {"name": BOT.name, "namespace": BOT.namespace, "uid": uid}}
    await store.objects.create(Key("serviceaccounts", BOT.namespace, BOT.name), document)


async def judged(tokens: AccountTokens, token: str) -> User | None:
    return await tokens.authenticate(credentials(("Authorization", f"Bearer {token}"), peer=peer()))


async def test_a_token_is_its_account(tokens: AccountTokens) -> None:
    token = await tokens.issue(BOT, [ISSUER, "other"], 600, time.time())

    user = await judged(tokens, token)

    assert user is not None
    assert (user.name, user.groups, user.uid) == (
        "system:serviceaccount:default:bot", ("system:serviceaccounts", "system:serviceaccounts:default"), "u-1"
    )  # fmt: skip
    assert user.audiences == (ISSUER,)
    assert dict(user.extra)["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def confused(claims: dict[str, Any], kid: str, public: bytes) -> str:
    """Signed with the public key as if that were a secret. PyJWT refuses to make it."""
    header = encoded(json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode())
    signed = f"{header}.{encoded(json.dumps(claims).encode())}"
    return f"{signed}.{encoded(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"


def unsigned(claims: dict[str, Any], kid: str, algorithm: str = "none") -> str:
    header = encoded(json.dumps({"alg": algorithm, "typ": "JWT", "kid": kid}).encode())
    return f"{header}.{encoded(json.dumps(claims).encode())}."


async def test_every_wrong_token_is_refused(tokens: AccountTokens, keys: SigningKeys) -> None:
    now = int(time.time())
    token = await tokens.issue(BOT, [ISSUER], 600, now)
    right = jwt.decode(token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(token)["kid"]
    key = await keys.find(kid)
    assert key is not None
    spki = key.public.public_bytes(*_pem())

    def signed(key: Any = key.private, id_: str = kid, about: object = right["kubernetes.io"], **changed: Any) -> str:
        wanted = right | changed | {"kubernetes.io": about}
        claims = {name: value for name, value in wanted.items() if value is not None}
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": id_})

    header, payload, signature = token.split(".")
    other = json.dumps(right | {"sub": "system:serviceaccount:kube-system:root"}).encode()
    named = right["kubernetes.io"]
    rows = {
        "expired": signed(exp=now - 60, nbf=now - 600, iat=now - 600),
        "not yet valid": signed(nbf=now + 300),
        "made in the future": signed(iat=now + 300),
        "without an end": signed(exp=None),
        "without a beginning": signed(nbf=None),
        "an end that is no number": signed(exp="tomorrow"),
        "a foreign key under our key's name": signed(key=made(0)),
        "a foreign key": signed(key=made(0), id_="foreign"),
        "no name of a key": jwt.encode(right, key.private, algorithm="RS256"),
        "unsigned": unsigned(right, kid),
        "unsigned in capitals": unsigned(right, kid, "NONE"),
        "signed with the public key": confused(right, kid, spki),
        "another's claims": f"{header}.{encoded(other)}.{signature}",
        "cut": f"{header}.{payload}.{signature[:-8]}",
        "for others": signed(aud=["other"]),
        "for nobody": signed(aud=[]),
        "without an audience": signed(aud=None),
        "another account's name": signed(sub="system:serviceaccount:default:root"),
        "no account": signed(about=None),
        "an account of another form": signed(about=named | {"serviceaccount": "bot"}),
        "an account that was made anew": signed(about=named | {"serviceaccount": {"name": "bot", "uid": "u-0"}}),
        "no such account": signed(sub="system:serviceaccount:x:bot", about=named | {"namespace": "x"}),
        "another signature": jwt.encode(right, key.private, algorithm="RS512", headers={"kid": kid}),
    }  # fmt: skip

    accepted = []
    for row, wrong in rows.items():
        try:
            if (user := await judged(tokens, wrong)) is not None:
                accepted.append((row, user))
        except Unauthorized:
            continue

    assert accepted == []
    assert await judged(tokens, signed()) is not None


def _pem() -> tuple[Any, Any]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return Encoding.PEM, PublicFormat.SubjectPublicKeyInfo


DEEP = encoded(b"[" * 20_000)


OTHERS = {
    "nothing but brackets": f"{DEEP}.{DEEP}.",
    "claims of brackets": f"eyJhbGciOiJub25lIn0.{DEEP}.",
    "a word": "abc",
    "dots": "a.b.c",
    "nothing": "",
    "two words": "secret token",
    "no JSON": "ey.ey.ey",
    "another issuer's": jwt.encode({"iss": "x"}, "k" * 32),
}


@pytest.mark.parametrize("token", OTHERS.values(), ids=OTHERS)
async def test_what_somebody_else_issued_is_left_to_others(tokens: AccountTokens, token: str) -> None:
    assert await judged(tokens, token) is None


async def test_a_token_ends_with_its_account(tokens: AccountTokens, store: PostgresStore) -> None:
    token = await tokens.issue(BOT, [ISSUER], 600, time.time())
    await store.objects.delete(Key("serviceaccounts", BOT.namespace, BOT.name))

    with pytest.raises(Unauthorized, match="gone"):
        await judged(tokens, token)
    await account(store, uid="u-2")
    with pytest.raises(Unauthorized, match="gone"):
        await judged(tokens, token)


async def test_a_new_key_signs_and_the_old_one_judges_until_nothing_of_it_is_left(
    tokens: AccountTokens, keys: SigningKeys, store: PostgresStore, clock: Clock
) -> None:
    first = await tokens.issue(BOT, [ISSUER], 600, time.time())
    clock.now += timedelta(days=91)
    second = await tokens.issue(BOT, [ISSUER], 600, time.time())
    elsewhere = AccountTokens(signing(store, clock), Accounts(store.objects), ISSUER, (ISSUER,))
    both = [await judged(elsewhere, token) for token in (first, second)]
    kept = [key["kid"] for key in keys.published()["keys"]]
    clock.now += timedelta(days=90 + 365)
    await tokens.issue(BOT, [ISSUER], 600, time.time())

    assert all(both)
    assert kept == [jwt.get_unverified_header(token)["kid"] for token in (second, first)]
    assert len(keys.published()["keys"]) == len((await store.objects.list(Scope(RESOURCE))).items) == 2


async def test_revoked_keys_count_no_longer(tokens: AccountTokens, keys: SigningKeys) -> None:
    token = await tokens.issue(BOT, [ISSUER], 600, time.time())

    await keys.revoke()

    with pytest.raises(Unauthorized, match="no key of ours"):
        await judged(tokens, token)
    assert await judged(tokens, await tokens.issue(BOT, [ISSUER], 600, time.time()))


A = "/apis/kubevirt.io/v1alpha1/namespaces/default"


async def test_kubectl_makes_an_account_and_its_token_may_what_its_role_says(drover: Drover) -> None:
    root = drover.kubectl("root")
    await root("create", "serviceaccount", "bot")
    await root("create", "rolebinding", "bots", "--clusterrole=view", "--serviceaccount=default:bot")

    token = (await root("create", "token", "bot")).strip()
    bot = drover.by_token(token)
    await until(bot, f"{A}/migrations", 200)
    who = await drover.kubectl(token)("auth", "whoami", "-o", "json")
    others = await bot.get("/apis/kubevirt.io/v1alpha1/namespaces/other/migrations")
    await root("delete", "serviceaccount", "bot")
    await until(bot, f"{A}/migrations", 401)

    assert json.loads(who)["status"]["userInfo"]["username"] == "system:serviceaccount:default:bot"
    assert others.status_code == 403


async def test_a_request_for_a_token_is_judged(drover: Drover) -> None:
    root, path = drover.root, "/api/v1/namespaces/default/serviceaccounts/bot/token"
    missing = await root.post(path, json={})
    await root.post("/api/v1/namespaces/default/serviceaccounts", json={"metadata": {"name": "bot"}})

    made = await root.post(path, json={"spec": {"audiences": ["vault"], "expirationSeconds": 10**9}})
    dry = await root.post(f"{path}?dryRun=All", json={})
    answers = {
        name: await root.post(path, json=body)
        for name, body in {
            "short": {"spec": {"expirationSeconds": 10}},
            "long": {"spec": {"expirationSeconds": 2**33}},
            "other name": {"metadata": {"name": "x"}},
            "other namespace": {"metadata": {"namespace": "x"}},
            "bound": {"spec": {"boundObjectRef": {"kind": "Node", "apiVersion": "v1", "name": "n"}}},
            "wrong type": {"spec": {"expirationSeconds": "x"}},
        }.items()
    }
    stranger = await drover.by_token("joe").post(path, json={})
    vault = drover.by_token(made.json()["status"]["token"])

    assert (missing.status_code, stranger.status_code) == (404, 403)
    assert made.status_code == 201 and made.json()["spec"]["expirationSeconds"] == 365 * 86_400
    assert dry.status_code == 201 and dry.json()["status"]["token"]
    assert "cannot bind token to object of type /v1, Kind=Node" in answers["bound"].json()["message"]
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "short": 422, "long": 422, "other name": 422, "other namespace": 400, "bound": 400, "wrong type": 400
    }  # fmt: skip
    assert "may not specify a duration less than 10 minutes" in answers["short"].json()["message"]
    assert (await vault.get("/api")).status_code == 401


async def test_others_can_judge_a_token_by_what_is_published(drover: Drover) -> None:
    root = drover.root
    await root.post("/api/v1/namespaces/default/serviceaccounts", json={"metadata": {"name": "bot"}})
    path = "/api/v1/namespaces/default/serviceaccounts/bot/token"
    token = (await root.post(path, json={"spec": {"audiences": ["vault"]}})).json()["status"]["token"]

    found = (await root.get("/.well-known/openid-configuration")).json()
    published = await root.get(httpx.URL(found["jwks_uri"]).path)
    kid = jwt.get_unverified_header(token)["kid"]
    key = jwt.PyJWKSet.from_dict(published.json())[kid]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience="vault", issuer=found["issuer"])
    review = {"spec": {"token": token, "audiences": ["vault", "other"]}}
    reviewed = (await root.post("/apis/authentication.k8s.io/v1/tokenreviews", json=review)).json()["status"]
    for_us = (await root.post("/apis/authentication.k8s.io/v1/tokenreviews", json={"spec": {"token": token}})).json()
    stranger = await drover.by_token("joe").get("/openid/v1/jwks")

    assert claims["sub"] == "system:serviceaccount:default:bot"
    assert published.headers["content-type"] == "application/jwk-set+json"
    assert (reviewed["authenticated"], reviewed["audiences"]) == (True, ["vault"])
    assert "is invalid for the target audiences" in for_us["status"]["error"]
    assert stranger.status_code == 403
    assert (await drover.root.get("/api/v1/signingkeys")).status_code == 404


async def test_forged_tokens_are_401_and_change_nothing(drover: Drover, store: PostgresStore) -> None:
    root, path = drover.root, "/api/v1/namespaces/default/serviceaccounts"
    await root.post(path, json={"metadata": {"name": "bot"}})
    binding = {
        "metadata": {"name": "bot"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "bot", "namespace": "default"}],
    }
    await root.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", json=binding)
    token = (await root.post(f"{path}/bot/token", json={})).json()["status"]["token"]
    right, header = jwt.decode(token, options={"verify_signature": False}), jwt.get_unverified_header(token)
    await until(drover.by_token(token), "/api/v1/nodes", 200)
    before = await store.objects.revision()
    forged = {
        "unsigned": unsigned(right, header["kid"]),
        "a foreign key": jwt.encode(right, made(0), algorithm="RS256", headers={"kid": header["kid"]}),
        "cut": token[:-10],
        "for others": (await root.post(f"{path}/bot/token", json={"spec": {"audiences": ["x"]}})).json()["status"][
            "token"
        ],
        "a second word": f"{token} {token}",
        "nothing but brackets": f"{DEEP}.{DEEP}.",
    }

    answers = {
        name: await root.post(
            "/api/v1/namespaces", json={"metadata": {"name": "n"}}, headers={"Authorization": f"Bearer {one}"}
        )
        for name, one in forged.items()
    }

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(forged, 401)
    assert await store.objects.revision() == before
