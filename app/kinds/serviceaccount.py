"""ServiceAccount: somebody who is no person, known by tokens that Drover signs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.kinds.event import ObjectReference
from app.kinds.shape import ATOMIC, MAP_ATOMIC, Nothing, Shape, map_by
from app.machinery.kind import CORE, Kind, Subresource
from app.machinery.objects import Document
from app.machinery.reviews import AUTHENTICATION
from app.machinery.tokenrequest import TOKEN_REQUEST


class LocalObjectReference(Shape):
    """Names a Secret. There are none here: other programs write them down."""

    name: str | None = None
    """Its name."""


class ServiceAccountBody(Shape):
    """What belongs to it."""

    secrets: Annotated[list[Annotated[ObjectReference, MAP_ATOMIC]], map_by("name")] = Field(default_factory=list)
    """Not used here."""
    image_pull_secrets: Annotated[list[LocalObjectReference], ATOMIC] = Field(default_factory=list)
    """Not used here."""
    automount_service_account_token: bool | None = None
    """Not used here."""


def _default(document: Document) -> None:
    """Of a Secret only its name is kept, as kube-apiserver does."""
    secrets = document.get("secrets")
    if isinstance(secrets, list):
        document["secrets"] = [
            {name: value for name, value in secret.items() if name == "name"} if isinstance(secret, dict) else secret
            for secret in secrets
        ]


SERVICE_ACCOUNT: Kind[Nothing, Nothing] = Kind(
    name="ServiceAccount",
    plural="serviceaccounts",
    served=(CORE,),
    spec=Nothing,
    status=Nothing,
    body=ServiceAccountBody,
    description="ServiceAccount is somebody who is no person: a program, known by tokens that are asked for in its name.",
    short_names=("sa",),
    typed=True,
    shown_deleted=True,
    has_status=False,
    default=_default,
    subresources=(Subresource("token", ("create",), TOKEN_REQUEST.name, AUTHENTICATION, asks=TOKEN_REQUEST),),
)
