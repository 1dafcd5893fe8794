"""Reviews: may I, and who am I. Whatever form the question has, the answer follows from who asks."""

from __future__ import annotations

from collections.abc import Callable

from app.api import errors
from app.api.bodies import ACCEPTED, parsed
from app.api.negotiation import JSON
from app.api.requests import Request
from app.machinery.access import User
from app.machinery.errors import ApiError, FieldError, bad_request, invalid, invalid_object
from app.machinery.go_json import cannot_unmarshal
from app.machinery.objects import Document
from app.machinery.protobuf import CONTENT_TYPE as PROTOBUF

AUTHORIZATION = "authorization.k8s.io/v1"
AUTHENTICATION = "authentication.k8s.io/v1"


def _access(_user: User) -> Document:
    return {"allowed": True}


def _rules(_user: User) -> Document:
    return {
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }


def _self(user: User) -> Document:
    return {"userInfo": {"username": user.name, "groups": list(user.groups)}}


def _token(user: User) -> Document:
    """Any token is its bearer's, who is who asks."""
    return {"authenticated": True, "user": _self(user)["userInfo"]}


_REVIEWS: dict[str, tuple[str, str, Callable[[User], Document]]] = {
    f"/apis/{AUTHORIZATION}/selfsubjectaccessreviews": (AUTHORIZATION, "SelfSubjectAccessReview", _access),
    f"/apis/{AUTHORIZATION}/selfsubjectrulesreviews": (AUTHORIZATION, "SelfSubjectRulesReview", _rules),
    f"/apis/{AUTHENTICATION}/selfsubjectreviews": (AUTHENTICATION, "SelfSubjectReview", _self),
    f"/apis/{AUTHENTICATION}/tokenreviews": (AUTHENTICATION, "TokenReview", _token),
}


def is_review(path: str) -> bool:
    return path in _REVIEWS


def review(path: str, user: User, spec: Document) -> Document:
    """The answered review, with the question that was asked."""
    version, kind, status = _REVIEWS[path]
    answered: Document = {"kind": kind, "apiVersion": version, "metadata": {}}
    if kind != "SelfSubjectReview":
        answered["spec"] = spec
    return {**answered, "status": status(user)}


async def asked(request: Request) -> Document:
    """What the question is about; of protobuf, which only says what nobody is refused here, it stays unsaid.

    Raises ApiError for what is no question."""
    body = await request.body()
    type_ = request.content_type or JSON
    if type_ == PROTOBUF or not body:
        return {}
    if type_ not in ACCEPTED:
        raise errors.unsupported_media(ACCEPTED)
    document = parsed(type_, body).document
    spec = document.get("spec") or {}
    if not isinstance(spec, dict):
        raise bad_request(cannot_unmarshal(spec, "v1.Spec", f"{document.get('kind', '')}.spec"))
    _ensure_question(request.path, spec)
    return spec


def _ensure_question(path: str, spec: Document) -> None:
    """Raises 422 for a question about nothing, or about two things; 400 for rules of no namespace."""
    kind = _REVIEWS[path.rstrip("/")][1]
    if kind == "SelfSubjectRulesReview" and not spec.get("namespace"):
        raise bad_request("no namespace on request")
    if kind != "SelfSubjectAccessReview":
        return
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is None and other is None:
        one = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise _invalid(invalid("spec.resourceAttributes", None, one))
    if resource is not None and other is not None:
        shown = {name.capitalize(): value for name, value in other.items()} if isinstance(other, dict) else other
        both = "cannot be specified in combination with resourceAttributes"
        raise _invalid(invalid("spec.nonResourceAttributes", shown, both))


def _invalid(error: FieldError) -> ApiError:
    """kube-apiserver forgets the kind of a review that it refuses."""
    refused = invalid_object("", "authorization.k8s.io", "", [error])
    details = {name: value for name, value in (refused.details or {}).items() if value}
    return ApiError(refused.code, refused.reason, refused.message, details)
