"""Acting as somebody else: the Impersonate-* headers, and the rights that each of them needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from app.api.auth.base import RawHeaders
from app.machinery.access import (
    ANONYMOUS,
    AUTHENTICATED,
    NO_SNIFF,
    SERVICE_ACCOUNT,
    UNAUTHENTICATED,
    Attributes,
    User,
)
from app.machinery.errors import ApiError, bad_request
from app.machinery.go_json import quoted
from app.machinery.names import dns_label, dns_subdomain

USER = b"impersonate-user"
GROUP = b"impersonate-group"
UID = b"impersonate-uid"
EXTRA = b"impersonate-extra-"
_FIRST = b"impersonate-"
AUTHENTICATION = "authentication.k8s.io"


@dataclass(frozen=True, slots=True)
class Impersonation:
    """Whom to act as, and what one must be allowed for it."""

    user: User
    needed: tuple[Attributes, ...]


def wanted(headers: Mapping[bytes, bytes], raw: RawHeaders) -> Impersonation | None:
    """None where nobody is impersonated, which is nearly always. Raises 400 for groups and the like of no user."""
    if not any(name.startswith(_FIRST) for name in headers):
        return None
    name = _text(headers.get(USER, b""))
    groups = tuple(_text(value) for header, value in raw if header == GROUP)
    uid = _text(headers.get(UID, b""))
    extra = tuple(_extra(raw))
    if not name:
        if groups or uid or extra:
            raise _nameless(groups, uid, extra)
        return None
    account = service_account(name)
    needed = (
        _impersonate("serviceaccounts", account[1], namespace=account[0]) if account else _impersonate("users", name),
        *(_impersonate("groups", group) for group in groups),
        *(_impersonate("userextras", value, AUTHENTICATION, key) for key, values in extra for value in values),
        *([_impersonate("uids", uid, AUTHENTICATION)] if uid else []),
    )
    if account and not groups:
        groups = service_account_groups(account[0])
    return Impersonation(User(name, _completed(name, groups), uid, extra), needed)


def service_account(name: str) -> tuple[str, str] | None:
    """Namespace and name of the service account that a user's name means."""
    if not name.startswith(SERVICE_ACCOUNT):
        return None
    namespace, colon, account = name.removeprefix(SERVICE_ACCOUNT).partition(":")
    if not colon or any(dns_label(namespace)) or any(dns_subdomain(account)):
        return None
    return namespace, account


def service_account_groups(namespace: str) -> tuple[str, ...]:
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


def _completed(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    if name == ANONYMOUS:
        return groups if UNAUTHENTICATED in groups else (*groups, UNAUTHENTICATED)
    if AUTHENTICATED in groups or UNAUTHENTICATED in groups:
        return groups
    return (*groups, AUTHENTICATED)


def _nameless(groups: Sequence[str], uid: str, extra: Sequence[tuple[str, tuple[str, ...]]]) -> ApiError:
    """400 for what belongs to a user, without one; kube-apiserver shows it as Go prints it."""
    listed = _texts(groups) if groups else "[]string(nil)"
    shown = ", ".join(f"{quoted(name)}:{_texts(values)}" for name, values in sorted(extra))
    others = f"map[string][]string{{{shown}}}" if extra else "map[string][]string(nil)"
    info = f'&user.DefaultInfo{{Name:"", UID:{quoted(uid)}, Groups:{listed}, Extra:{others}}}'
    error = bad_request(f"requested {info} without impersonating a user name")
    return ApiError(error.code, error.reason, error.message, headers=NO_SNIFF)


def _texts(values: Sequence[str]) -> str:
    return f"[]string{{{', '.join(map(quoted, values))}}}"


def _extra(raw: RawHeaders) -> Iterator[tuple[str, tuple[str, ...]]]:
    found: dict[str, tuple[str, ...]] = {}
    for header, value in raw:
        if header.startswith(EXTRA):
            key = unquote(_text(header[len(EXTRA) :])).lower()
            found[key] = (*found.get(key, ()), _text(value))
    yield from found.items()


def _impersonate(resource: str, name: str, group: str = "", below: str = "", *, namespace: str = "") -> Attributes:
    return Attributes("impersonate", group, "v1", resource, below, name, namespace)


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")
