"""Namespace: a room of its own for names. `default` is always there."""

from __future__ import annotations

from enum import StrEnum

from app.kinds.shape import Nothing, Shape
from app.machinery.kind import AGE, CORE, Column, Kind
from app.machinery.objects import Document


class Phase(StrEnum):
    """Whether a namespace can be used."""

    ACTIVE = "Active"
    """It can."""
    TERMINATING = "Terminating"
    """It is being deleted: nothing can be created in it."""


class NamespaceStatus(Shape):
    """Whether it can be used."""

    phase: Phase = Phase.ACTIVE
    """Active, or Terminating while it is being deleted."""


def _default(document: Document) -> None:
    if not document.get("status"):
        document["status"] = {"phase": Phase.ACTIVE.value}


def _phase(document: Document) -> str:
    if (document.get("metadata") or {}).get("deletionTimestamp"):
        return Phase.TERMINATING.value
    return str((document.get("status") or {}).get("phase") or Phase.ACTIVE.value)


NAMESPACE: Kind[Nothing, NamespaceStatus] = Kind(
    name="Namespace",
    plural="namespaces",
    served=(CORE,),
    spec=Nothing,
    status=NamespaceStatus,
    description="Namespace provides a scope for names.",
    namespaced=False,
    short_names=("ns",),
    typed=True,
    dns_label=True,
    columns=(Column("Status", _phase, description="Whether it can be used."), AGE),
    selectable=("status.phase",),
    default=_default,
)
