"""Reviews: may I, may they, what may I, who am I, whose token is this. Questions that are answered and never stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from app.api import errors
from app.api.auth.base import Credentials, Unauthorized
from app.api.auth.gate import Gate
from app.api.bodies import question
from app.api.negotiation import ACCEPTED, ensure_routable, negotiate
from app.api.options import manager_of
from app.api.requests import Request
from app.api.responses import Response, of_document, warned
from app.machinery.access import Attributes, Decision, User, Verdict, authenticated
from app.machinery.bindings import together
from app.machinery.errors import ApiError, FieldError, bad_request, invalid_object, warning_of
from app.machinery.managed import Entries, Writer, created, with_entries
from app.machinery.objects import Document
from app.machinery.review_checks import problems, unreadable
from app.machinery.reviews import (
    LOCAL_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_REVIEW,
    SELF_SUBJECT_RULES_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    TOKEN_REVIEW,
    Review,
)

NO_RESOURCE = "<unset>"
"""A question that names no resource is about one that nobody serves: never about a path."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and who asks it."""

    request: Request
    metadata: Document
    spec: Document
    namespace: str = ""
    """Of the path."""


Answer = Callable[[Asked], Awaitable[Document]]


class Reviews:
    """Answers by the gate's own authenticator and authorizer."""

    def __init__(self, gate: Gate, now: Callable[[], str]) -> None:
        self._gate = gate
        self._now = now
        answers: tuple[tuple[Review, Answer], ...] = (
            (SELF_SUBJECT_ACCESS_REVIEW, self._own_access),
            (SUBJECT_ACCESS_REVIEW, self._access),
            (LOCAL_SUBJECT_ACCESS_REVIEW, self._access),
            (SELF_SUBJECT_RULES_REVIEW, self._rules),
            (SELF_SUBJECT_REVIEW, self._self),
            (TOKEN_REVIEW, self._token),
        )
        self._answers = {f"{review.group_version.path}/{review.plural}": (review, answer) for review, answer in answers}

    def find(self, path: str) -> Callable[[Request], Awaitable[Response]] | None:
        """What answers the path; None where it is no review's."""
        namespace = ""
        match path.split("/"):
            case ["", "apis", group, version, "namespaces", namespace, plural]:
                path = f"/apis/{group}/{version}/{plural}"
        found = self._answers.get(path)
        if found is None or found[0].namespaced != bool(namespace):
            return None
        return lambda request: self._answer(*found, namespace, request)

    async def _answer(self, review: Review, answer: Answer, namespace: str, request: Request) -> Response:
        if request.method != "POST":
            raise errors.method_not_allowed()
        ensure_routable(request.accept, ACCEPTED)
        media = negotiate(request.accept, shapes=False, protobuf=True)
        document, warnings = await question(request, review)
        spec = document.get("spec") or {}
        metadata = document.get("metadata") or {}
        with warning_of(warnings):
            status = await answer(Asked(request, metadata, spec, namespace))
        answered: Document = {"kind": review.name, "apiVersion": str(review.group_version)}
        if review is SELF_SUBJECT_REVIEW:
            answered["metadata"] = {"creationTimestamp": self._now()}
        else:
            answered |= with_entries({"metadata": metadata, "spec": spec}, self._owners(review, request, spec))
        return warned(of_document({**answered, "status": status}, 201, media=media), warnings)

    def _owners(self, review: Review, request: Request, spec: Document) -> Entries:
        """A question has managedFields as if it were stored."""
        manager = request.parameters.get("fieldManager") or manager_of(request.header(b"user-agent"))
        writer = Writer(manager, str(review.group_version), self._now())
        return created(review, {"metadata": {}, "spec": spec}, writer)

    async def _own_access(self, asked: Asked) -> Document:
        return await self._judged(SELF_SUBJECT_ACCESS_REVIEW, asked, asked.request.user)

    async def _access(self, asked: Asked) -> Document:
        review = LOCAL_SUBJECT_ACCESS_REVIEW if asked.namespace else SUBJECT_ACCESS_REVIEW
        return await self._judged(review, asked, _user(asked.spec))

    async def _judged(self, review: Review, asked: Asked, user: User) -> Document:
        if asked.metadata.get("namespace", asked.namespace) != asked.namespace and review.namespaced:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if found := list(problems(review, asked.metadata, asked.spec, asked.namespace)):
            raise _invalid(found)
        verdict = await self._gate.authorizer.authorize(user, _attributes(asked.spec))
        unread = unreadable(asked.spec)
        return _status(verdict) | ({"evaluationError": together(unread)} if unread else {})

    async def _rules(self, asked: Asked) -> Document:
        namespace = asked.spec.get("namespace")
        if not namespace:
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
        token = asked.spec.get("token")
        wanted = tuple(asked.spec.get("audiences", ())) or self._gate.audiences
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        header = (b"authorization", f"Bearer {token}".encode("latin-1", errors="replace"))
        try:
            user = await self._gate.authenticator.authenticate(Credentials(dict([header]), [header], audiences=wanted))
        except Unauthorized as error:
            return {"user": {}, "error": str(error)}
        # Who does not look at audiences vouches for this API's own alone.
        audiences = (
            () if user is None else user.audiences or tuple(name for name in wanted if name in self._gate.audiences)
        )
        if user is None or (wanted and not audiences):
            return {"user": {}, "error": "invalid bearer token"}
        told: Document = {"authenticated": True, "user": authenticated(user).info()}
        return told | ({"audiences": list(audiences)} if audiences else {})


def _status(verdict: Verdict) -> Document:
    told: Document = {"allowed": verdict.allowed}
    if verdict.decision is Decision.DENIED:
        told["denied"] = True
    if verdict.reason:
        told["reason"] = verdict.reason
    return told


def _attributes(spec: Document) -> Attributes:
    """What is asked about, one of the two."""
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes") or {}
    if resource is None:
        return Attributes(other.get("verb", ""), path=other.get("path", ""))
    return Attributes(
        resource.get("verb", ""),
        resource.get("group", ""),
        resource.get("version", ""),
        resource.get("resource") or NO_RESOURCE,
        resource.get("subresource", ""),
        resource.get("name", ""),
        resource.get("namespace", ""),
    )


def _user(spec: Document) -> User:
    return User(
        spec.get("user", ""),
        tuple(spec.get("groups", ())),
        spec.get("uid", ""),
        tuple((key.lower(), tuple(values)) for key, values in spec.get("extra", {}).items()),
    )


def _invalid(errors: Sequence[FieldError]) -> ApiError:
    """kube-apiserver forgets the kind of a review that it refuses."""
    refused = invalid_object("", "authorization.k8s.io", "", errors)
    details = {name: value for name, value in (refused.details or {}).items() if value}
    return ApiError(refused.code, refused.reason, refused.message, details)
