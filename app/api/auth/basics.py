"""What everybody may ask where no roles are kept: whether the process is well, what is served, and about themselves."""

from __future__ import annotations

from app.machinery.access import ALLOWED, NO_OPINION, Attributes, User, Verdict

PUBLIC = ("/healthz", "/livez", "/readyz", "/version", "/version/")
"""system:public-info-viewer: for strangers too."""
DISCOVERY = ("/api", "/api/", "/apis", "/apis/", "/openapi", "/openapi/")
"""system:discovery, with what lies below: for those who proved who they are."""
SELF = {("authorization.k8s.io", "selfsubjectaccessreviews"), ("authorization.k8s.io", "selfsubjectrulesreviews")} | {
    ("authentication.k8s.io", "selfsubjectreviews")
}
"""system:basic-user."""


class Basics:
    """Kubernetes' default roles for everybody, without a store."""

    async def authorize(self, user: User, asked: Attributes) -> Verdict:
        if asked.resource:
            about_self = asked.verb == "create" and (asked.group, asked.resource) in SELF
            return ALLOWED if about_self and user.known else NO_OPINION
        if asked.verb != "get":
            return NO_OPINION
        if asked.path in PUBLIC or (user.known and _is_discovery(asked.path)):
            return ALLOWED
        return NO_OPINION


def _is_discovery(path: str) -> bool:
    return any(path == known or (known.endswith("/") and path.startswith(known)) for known in DISCOVERY)
