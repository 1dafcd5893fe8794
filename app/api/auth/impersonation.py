"""Acting as somebody else: the Impersonate-* headers, and the rights that each of them needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from app.api.auth.base import RawHeaders
from app.machinery.access import ANONYMOUS, AUTHENTICATED, SERVICE_ACCOUNT, UNAUTHENTICATED, Attributes, User
from app.machinery.errors import bad_request
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
            asked = ", ".join(sorted(header.decode("latin-1") for header in headers if header.startswith(_FIRST)))
            raise bad_request(f"requested {asked} without impersonating a user")
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
