"""Self reviews: may I, and who am I. Whatever form the question has, the answer follows from who asks."""

from __future__ import annotations

from collections.abc import Callable

from app.api.auth import User
from app.machinery.objects import Document

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


_REVIEWS: dict[str, tuple[str, str, Callable[[User], Document]]] = {
    f"/apis/{AUTHORIZATION}/selfsubjectaccessreviews": (AUTHORIZATION, "SelfSubjectAccessReview", _access),
    f"/apis/{AUTHORIZATION}/selfsubjectrulesreviews": (AUTHORIZATION, "SelfSubjectRulesReview", _rules),
    f"/apis/{AUTHENTICATION}/selfsubjectreviews": (AUTHENTICATION, "SelfSubjectReview", _self),
}


def is_review(path: str) -> bool:
    return path in _REVIEWS


def review(path: str, user: User) -> Document:
    """The answered review."""
    version, kind, status = _REVIEWS[path]
    answered: Document = {"kind": kind, "apiVersion": version, "metadata": {"creationTimestamp": None}}
    if version == AUTHORIZATION:
        answered["spec"] = {}
    return {**answered, "status": status(user)}
