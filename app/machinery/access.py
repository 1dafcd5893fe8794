"""Who asks, for what, and what was judged: the values that authentication, authorization, audit and queuing share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.machinery.errors import ApiError, resource_details
from app.machinery.go_json import quoted
from app.machinery.objects import Document
from app.machinery.values import value

ANONYMOUS = "system:anonymous"
UNAUTHENTICATED = "system:unauthenticated"
AUTHENTICATED = "system:authenticated"
MASTERS = "system:masters"
"""The group that may do everything, whatever the roles say."""
SERVICE_ACCOUNT = "system:serviceaccount:"
"""What a service account's name begins with: `system:serviceaccount:<namespace>:<name>`."""


@dataclass(frozen=True, slots=True)
class User:
    """A caller, as in userInfo of a review. Hashable, so that judgements can be kept by it."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Further facts, by lower-case key."""
    audiences: tuple[str, ...] = field(default=(), compare=False)
    """Of those that were asked about, the ones that the credentials are meant for; empty: nobody said."""

    @property
    def known(self) -> bool:
        """Somebody who proved who they are."""
        return AUTHENTICATED in self.groups

    def info(self) -> Document:
        """userInfo of authentication.k8s.io/v1; empty fields are left out."""
        told: Document = {"username": self.name, "uid": self.uid, "groups": list(self.groups)}
        told["extra"] = {key: list(values) for key, values in self.extra}
        return {name: value for name, value in told.items() if value}


ADMINISTRATOR = User("system:admin", (MASTERS, AUTHENTICATED))
STRANGER = User(ANONYMOUS, (UNAUTHENTICATED,))


def authenticated(user: User) -> User:
    """The same user, in the group of all who proved who they are; STRANGER stays one."""
    if AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED))


@value()
class Attributes:
    """What a request asks for, as Kubernetes' authorizers see it.

    About a resource: `resource` says its plural, and `namespace` "" means the cluster scope or every namespace. About
    another path: `resource` is "" and only `verb` (the method, lower-case) and `path` are said.
    """

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    namespace: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        """`pods/log`, as rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Decision(StrEnum):
    """DENIED ends the question; NO_OPINION leaves it to the next authorizer, and after the last one it is a no."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NO_OPINION = "no opinion"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement, and why; "" where there is nothing to say beyond it."""

    decision: Decision
    reason: str = ""

    @property
    def allowed(self) -> bool:
        return self.decision is Decision.ALLOWED


ALLOWED = Verdict(Decision.ALLOWED)
NO_OPINION = Verdict(Decision.NO_OPINION)

_SANITIZED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def cannot(user: User, asked: Attributes) -> str:
    """`User "u" cannot get resource "pods" in API group "" in the namespace "x"`: kube-apiserver's sentence."""
    who = f"User {quoted(user.name)} cannot {asked.verb}"
    if not asked.resource:
        return f"{who} path {quoted(asked.path)}".translate(_SANITIZED)
    where = f"in the namespace {quoted(asked.namespace)}" if asked.namespace else "at the cluster scope"
    what = f"resource {quoted(asked.full_resource)} in API group {quoted(asked.group)}"
    return f"{who} {what} {where}".translate(_SANITIZED)


def forbidden(user: User, asked: Attributes, reason: str = "") -> ApiError:
    """403 in kube-apiserver's words, before anybody looked at what was asked: browsers are not to guess what it is."""
    why = cannot(user, asked) + (f": {reason}" if reason else "")
    error = refused(asked.group, asked.resource, asked.name, why)
    return ApiError(error.code, error.reason, error.message, error.details, NO_SNIFF)


NO_SNIFF = {"X-Content-Type-Options": "nosniff"}


def refused(group: str, resource: str, name: str, why: str) -> ApiError:
    """403 about a resource, or about something that is none where `resource` is ""."""
    if not resource:
        return ApiError(403, "Forbidden", f"forbidden: {why}", {})
    qualified = f"{resource}.{group}" if group else resource
    named = f"{qualified} {quoted(name)}" if name else qualified
    details = {key: value for key, value in resource_details(resource, group, name).items() if value}
    return ApiError(403, "Forbidden", f"{named} is forbidden: {why}", details)


def unauthorized() -> ApiError:
    """401 in kube-apiserver's word: why, is only logged."""
    return ApiError(401, "Unauthorized", "Unauthorized")
