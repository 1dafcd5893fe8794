"""Leaving it to a cluster: who a token's bearer is, and who may do what, in k8s.io/apiserver's order and words."""

from __future__ import annotations

import structlog

from app.api.auth.base import Credentials, Unauthorized
from app.api.errors import Unjudged
from app.cluster.base import ClusterError
from app.cluster.reviews import Reviews
from app.machinery.access import ALLOWED, NO_OPINION, Attributes, Decision, User, Verdict
from app.machinery.objects import Document

log = structlog.get_logger()

PROBES = ("/healthz", "/readyz", "/livez")
"""What is answered to everybody without asking: a kubelet's probes bring no credentials, and the cluster may be away."""


class DelegatedTokens:
    """By TokenReview."""

    def __init__(self, reviews: Reviews) -> None:
        self._reviews = reviews

    async def authenticate(self, credentials: Credentials) -> User | None:
        """A token that cannot be asked about is refused, as Kubernetes does."""
        token = credentials.bearer
        if not token:
            return None
        try:
            found = await self._reviews.identity(token)
        except (ClusterError, TimeoutError) as error:
            raise Unauthorized(
                f"the cluster does not say whose token it is: {error or type(error).__name__}"
            ) from error
        if found is None:
            raise Unauthorized("the cluster does not know the token")
        return User(found.name, found.groups, found.uid, found.extra)


class ProbesMay:
    """Health, for everybody."""

    async def authorize(self, _user: User, asked: Attributes) -> Verdict:
        return ALLOWED if not asked.resource and asked.path in PROBES else NO_OPINION


class DelegatedRights:
    """By SubjectAccessReview."""

    def __init__(self, reviews: Reviews) -> None:
        self._reviews = reviews

    async def authorize(self, user: User, asked: Attributes) -> Verdict:
        try:
            answer = await self._reviews.access(spec_of(user, asked))
        except (ClusterError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            log.warning("not judged: the cluster does not say", user=user.name, path=asked.path, error=why)
            raise Unjudged(asked.path, f"the cluster does not say who may do what: {why}") from error
        if answer.allowed and answer.denied:
            raise Unjudged(asked.path, "the cluster both allows and denies it")
        if answer.denied:
            return Verdict(Decision.DENIED, answer.reason)
        return Verdict(Decision.ALLOWED if answer.allowed else Decision.NO_OPINION, answer.reason)


def spec_of(user: User, asked: Attributes) -> Document:
    """The question as a SubjectAccessReview has it; what is empty is left out."""
    spec: Document = {
        "user": user.name,
        "groups": list(user.groups),
        "uid": user.uid,
        "extra": {key: list(values) for key, values in user.extra},
    }
    if asked.resource:
        words = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
        spec["resourceAttributes"] = {word: value for word in words if (value := getattr(asked, word))}
    else:
        spec["nonResourceAttributes"] = {"path": asked.path, "verb": asked.verb}
    return {name: value for name, value in spec.items() if value}
