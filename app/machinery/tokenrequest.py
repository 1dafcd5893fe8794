"""TokenRequest: asks for a token in a service account's name. Answered at once, never stored; as kube-apiserver has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from app.machinery.errors import FieldError, invalid
from app.machinery.kind import Kind
from app.machinery.objects import Document, Wire
from app.machinery.reviews import AUTHENTICATION

LASTS_S = 3600
"""How long a token lasts where nobody says."""
SHORTEST_S = 600
LONGEST_S = 1 << 32


class BoundObjectReference(Wire):
    """BoundObjectReference names an object with which the token ends."""

    kind: str | None = None
    """Its kind."""
    api_version: str | None = None
    """Its group and version."""
    name: str | None = None
    """Its name."""
    uid: str | None = None
    """Its UID."""


class TokenRequestSpec(Wire):
    """TokenRequestSpec says what the token is for."""

    audiences: Annotated[list[str], Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})] = Field(
        default_factory=list
    )
    """Whom it is meant for; none is the API server. Who gets a token must find themselves among them, or refuse it."""
    expiration_seconds: int | None = None
    """How long it is to last. What is answered may be less."""
    bound_object_ref: BoundObjectReference | None = None
    """An object with which the token ends. No kind of those that Kubernetes binds tokens to is taken here."""


class TokenRequestStatus(Wire):
    """TokenRequestStatus has the token."""

    token: str
    """The token."""
    expiration_timestamp: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When it ends."""


class TokenRequest(Wire):
    """A token for a service account."""

    spec: TokenRequestSpec
    """What is asked for."""
    status: TokenRequestStatus | None = None
    """Filled in by the server: the token."""


TOKEN_REQUEST: Kind[Any, Any] = Kind(
    name="TokenRequest",
    plural="tokenrequests",
    served=(AUTHENTICATION,),
    spec=Wire,
    status=Wire,
    body=TokenRequest,
    description="TokenRequest asks for a token in a service account's name.",
    typed=True,
    any_name=True,
    has_status=False,
)


def problems(spec: Document) -> Iterator[FieldError]:
    """What is wrong with how long it is to last."""
    path, wanted = "spec.expirationSeconds", spec.get("expirationSeconds", LASTS_S)
    if wanted < SHORTEST_S:
        yield invalid(path, wanted, "may not specify a duration less than 10 minutes")
    if wanted > LONGEST_S:
        yield invalid(path, wanted, "may not specify a duration larger than 2^32 seconds")
