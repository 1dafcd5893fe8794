"""ServiceAccount: somebody who is no person, known by tokens that Drover signs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.kinds.shape import ATOMIC, Nothing, Shape, map_by
from app.machinery.kind import AGE, CORE, Column, Kind, Subresource
from app.machinery.objects import Document
from app.machinery.reviews import AUTHENTICATION
from app.machinery.tokenrequest import TOKEN_REQUEST


class SecretReference(Shape):
    """Names a Secret. There are none here: other programs write them down."""

    name: str | None = None
    """Its name."""


class PullSecretReference(Shape):
    """Names a Secret. There are none here: other programs write them down."""

    name: str | None = None
    """Its name."""


class ServiceAccountBody(Shape):
    """What belongs to it."""

    secrets: Annotated[list[SecretReference], map_by("name")] = Field(default_factory=list)
    """Not used here."""
    image_pull_secrets: Annotated[list[PullSecretReference], ATOMIC] = Field(default_factory=list)
    """Not used here."""
    automount_service_account_token: bool | None = None
    """Not used here."""


def _secrets(document: Document) -> int:
    return len(document.get("secrets") or ())


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
    columns=(Column("Secrets", _secrets, type="integer", description="How many secrets belong to it."), AGE),
    has_status=False,
    subresources=(Subresource("token", ("create",), TOKEN_REQUEST.name, AUTHENTICATION, asks=TOKEN_REQUEST),),
)
