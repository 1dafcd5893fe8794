"""Reviews: may I, may they, what may I, who am I, whose token is this. Questions that are answered and never stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from app.api import errors
from app.api.auth.base import Credentials, Unauthorized
from app.api.auth.gate import Gate
from app.api.bodies import ACCEPTED, parsed
from app.api.negotiation import JSON, negotiate
from app.api.requests import Request
from app.api.responses import Response, of_document
from app.machinery.access import Attributes, Decision, User, Verdict, authenticated
from app.machinery.bindings import together
from app.machinery.errors import ApiError, FieldError, bad_request, invalid, invalid_object
from app.machinery.go_json import cannot_unmarshal
from app.machinery.objects import Document

AUTHORIZATION = "authorization.k8s.io/v1"
AUTHENTICATION = "authentication.k8s.io/v1"
NO_RESOURCE = "<unset>"
"""A question that names no resource is about one that nobody serves: never about a path."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and who asks it."""

    request: Request
    spec: Document
    namespace: str = ""
    """Of the path."""


Answer = Callable[[Asked], Awaitable[Document]]


class Reviews:
    """Answers by the gate's own authenticator and authorizer."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._answers: dict[str, tuple[str, str, Answer]] = {
            "selfsubjectaccessreviews": (AUTHORIZATION, "SelfSubjectAccessReview", self._own_access),
            "subjectaccessreviews": (AUTHORIZATION, "SubjectAccessReview", self._access),
            "localsubjectaccessreviews": (AUTHORIZATION, "LocalSubjectAccessReview", self._access),
            "selfsubjectrulesreviews": (AUTHORIZATION, "SelfSubjectRulesReview", self._rules),
            "selfsubjectreviews": (AUTHENTICATION, "SelfSubjectReview", self._self),
            "tokenreviews": (AUTHENTICATION, "TokenReview", self._token),
        }

    def find(self, path: str) -> Callable[[Request], Awaitable[Response]] | None:
        """What answers the path; None where it is no review's."""
        match path.split("/"):
            case ["", "apis", group, version, "namespaces", namespace, "localsubjectaccessreviews" as plural]:
                pass
            case ["", "apis", group, version, plural] if plural != "localsubjectaccessreviews":
                namespace = ""
            case _:
                return None
        found = self._answers.get(plural)
        if found is None or found[0] != f"{group}/{version}":
            return None
        return lambda request: self._answer(found, namespace, request)

    async def _answer(self, review: tuple[str, str, Answer], namespace: str, request: Request) -> Response:
        version, kind, answer = review
        if request.method != "POST":
            raise errors.method_not_allowed()
        media = negotiate(request.accept, shapes=False)
        document = await _question(request, kind)
        spec = document.get("spec") or {}
        status = await answer(Asked(request, spec, namespace))
        metadata = document.get("metadata") if isinstance(document.get("metadata"), dict) else {}
        answered: Document = {"kind": kind, "apiVersion": version, "metadata": metadata or {}}
        if kind != "SelfSubjectReview":
            answered["spec"] = spec
        return of_document({**answered, "status": status}, 201, media=media)

    async def _own_access(self, asked: Asked) -> Document:
        attributes = _attributes(asked.spec)
        return _status(await self._gate.authorizer.authorize(asked.request.user, attributes))

    async def _access(self, asked: Asked) -> Document:
        attributes = _attributes(asked.spec)
        if asked.namespace and attributes.namespace != asked.namespace:
            said = f"must match metadata.namespace {asked.namespace}"
            raise _invalid(invalid("spec.resourceAttributes.namespace", attributes.namespace, said))
        user = _user(asked.spec)
        if not user.name and not user.groups:
            raise _invalid(invalid("spec.user", "", "at least one of user or group must be specified"))
        return _status(await self._gate.authorizer.authorize(user, attributes))

    async def _rules(self, asked: Asked) -> Document:
        namespace = asked.spec.get("namespace")
        if not isinstance(namespace, str) or not namespace:
            raise bad_request("no namespace on request")
        if self._gate.rules is None:
            told: Document = {"resourceRules": [], "nonResourceRules": [], "incomplete": True}
            return told | {"evaluationError": "webhook authorizer does not support user rule resolution"}
        granted = self._gate.rules(asked.request.user, namespace)
        rules = list(dict.fromkeys(granted.rules))
        told = {
            "resourceRules": [rule.document() for rule in rules if rule.resources],
            "nonResourceRules": [rule.document() for rule in rules if rule.paths],
            "incomplete": bool(granted.problems),
        }
        return told | ({"evaluationError": together(granted.problems)} if granted.problems else {})

    async def _self(self, asked: Asked) -> Document:
        return {"userInfo": asked.request.user.info()}

    async def _token(self, asked: Asked) -> Document:
        token, audiences = asked.spec.get("token"), asked.spec.get("audiences") or []
        if not isinstance(token, str) or not token:
            return {"user": {}, "error": "token was not provided"}
        header = (b"authorization", f"Bearer {token}".encode("latin-1", errors="replace"))
        wanted = tuple(audience for audience in audiences if isinstance(audience, str))
        try:
            user = await self._gate.authenticator.authenticate(Credentials(dict([header]), [header], audiences=wanted))
        except Unauthorized as error:
            return {"user": {}, "error": str(error)}
        if user is None:
            return {"user": {}}
        return {"authenticated": True, "user": authenticated(user).info()} | (
            {"audiences": list(wanted)} if wanted else {}
        )


def _status(verdict: Verdict) -> Document:
    told: Document = {"allowed": verdict.allowed}
    if verdict.decision is Decision.DENIED:
        told["denied"] = True
    if verdict.reason:
        told["reason"] = verdict.reason
    return told


def _attributes(spec: Document) -> Attributes:
    """What is asked about. Raises 422 for nothing, or for two things."""
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is None and other is None:
        one = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise _invalid(invalid("spec.resourceAttributes", None, one))
    if resource is not None and other is not None:
        shown = {name.capitalize(): value for name, value in other.items()} if isinstance(other, dict) else other
        both = "cannot be specified in combination with resourceAttributes"
        raise _invalid(invalid("spec.nonResourceAttributes", shown, both))
    if resource is None:
        told = _object(other, "nonResourceAttributes")
        return Attributes(_text(told, "verb"), path=_text(told, "path"))
    told = _object(resource, "resourceAttributes")
    return Attributes(
        _text(told, "verb"),
        _text(told, "group"),
        _text(told, "version"),
        _text(told, "resource") or NO_RESOURCE,
        _text(told, "subresource"),
        _text(told, "name"),
        _text(told, "namespace"),
    )


def _user(spec: Document) -> User:
    extra = spec.get("extra")
    return User(
        _text(spec, "user"),
        tuple(_texts(spec.get("groups"), "groups")),
        _text(spec, "uid"),
        tuple((key.lower(), tuple(_texts(values, "extra"))) for key, values in extra.items())
        if isinstance(extra, dict)
        else (),
    )


def _object(value: Any, field: str) -> Document:
    if not isinstance(value, dict):
        raise bad_request(cannot_unmarshal(value, "v1.Attributes", f"spec.{field}"))
    return value


def _text(told: Document, name: str) -> str:
    value = told.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise bad_request(cannot_unmarshal(value, "string", f"spec.{name}"))
    return value


def _texts(values: Any, name: str) -> list[str]:
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise bad_request(cannot_unmarshal(values, "[]string", f"spec.{name}"))
    return values


async def _question(request: Request, kind: str) -> Document:
    """The review as it was sent. Raises ApiError for what is no question."""
    body = await request.body()
    type_ = request.content_type or JSON
    if type_ not in ACCEPTED:
        raise errors.unsupported_media(ACCEPTED)
    document = parsed(type_, body).document if body else {}
    said = document.get("kind")
    if said not in (None, kind):
        raise bad_request(f"{said} in version {document.get('apiVersion')!s} cannot be handled as a {kind}")
    spec = document.get("spec")
    if spec is not None and not isinstance(spec, dict):
        raise bad_request(cannot_unmarshal(spec, "v1.Spec", f"{kind}.spec"))
    return document


def _invalid(error: FieldError) -> ApiError:
    """kube-apiserver forgets the kind of a review that it refuses."""
    refused = invalid_object("", "authorization.k8s.io", "", [error])
    details = {name: value for name, value in (refused.details or {}).items() if value}
    return ApiError(refused.code, refused.reason, refused.message, details)
