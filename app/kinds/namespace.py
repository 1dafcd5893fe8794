"""Namespace: a room of its own for names. `default` is always there."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.kinds.shape import ATOMIC, DescribedCondition, Shape, map_by
from app.machinery.errors import ApiError, FieldError, invalid
from app.machinery.kind import AGE, CORE, Column, Kind, Subresource
from app.machinery.names import qualified_name
from app.machinery.objects import Document


class Phase(StrEnum):
    """Whether a namespace can be used."""

    ACTIVE = "Active"
    """It can."""
    TERMINATING = "Terminating"
    """It is being deleted: nothing can be created in it."""


KUBERNETES = "kubernetes"
"""The content finalizer of every namespace: off when nothing is in it any more."""
NAME_LABEL = "kubernetes.io/metadata.name"
"""A label that is the name, so that selectors can mean one namespace."""


class NamespaceSpec(Shape):
    """Who must finish before a deleted namespace goes."""

    finalizers: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """What must be empty before the object is removed; changed by the finalize subresource alone."""


class NamespaceCondition(DescribedCondition):
    """One observation about a Namespace."""


class NamespaceStatus(Shape):
    """Whether it can be used."""

    phase: Phase = Phase.ACTIVE
    """Active, or Terminating while it is being deleted."""
    conditions: Annotated[list[NamespaceCondition], map_by("type")] = Field(default_factory=list)
    """How far its deletion has come."""


def _default(document: Document) -> None:
    metadata = document["metadata"]
    if metadata.get("name"):
        metadata.setdefault("labels", {})[NAME_LABEL] = metadata["name"]
    if document.get("status"):
        return
    document["status"] = {"phase": Phase.ACTIVE.value}
    if not metadata.get("deletionTimestamp"):
        finalizers = (document.get("spec") or {}).get("finalizers") or []
        document["spec"] = {"finalizers": [*finalizers, *(() if KUBERNETES in finalizers else (KUBERNETES,))]}


def _check(document: Document) -> Iterator[FieldError]:
    for finalizer in (document.get("spec") or {}).get("finalizers") or ():
        for problem in qualified_name(finalizer):
            yield invalid("spec.finalizers", finalizer, problem)
        if "/" not in finalizer and finalizer != KUBERNETES:
            yield invalid(
                "spec.finalizers", finalizer, "name is neither a standard finalizer name nor is it fully qualified"
            )


def _check_update(document: Document) -> Iterator[FieldError]:
    yield from _check(document)
    phase = (document.get("status") or {}).get("phase")
    if phase == Phase.TERMINATING and not (document.get("metadata") or {}).get("deletionTimestamp"):
        yield invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")


IMMORTAL = ("default", "kube-system", "kube-public")
"""What kube-apiserver does not let go."""


def _check_delete(document: Document) -> ApiError | None:
    name = str((document.get("metadata") or {}).get("name", ""))
    if name not in IMMORTAL:
        return None
    why = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    return ApiError(403, "Forbidden", why, {"name": name, "kind": "namespaces"})


def _phase(document: Document) -> str:
    if (document.get("metadata") or {}).get("deletionTimestamp"):
        return Phase.TERMINATING.value
    return str((document.get("status") or {}).get("phase") or Phase.ACTIVE.value)


NAMESPACE: Kind[NamespaceSpec, NamespaceStatus] = Kind(
    name="Namespace",
    plural="namespaces",
    served=(CORE,),
    spec=NamespaceSpec,
    status=NamespaceStatus,
    description="Namespace provides a scope for names.",
    namespaced=False,
    short_names=("ns",),
    typed=True,
    counted=False,
    blank={"spec": {}, "status": {}},
    dns_label=True,
    columns=(Column("Status", _phase, description="Whether it can be used."), AGE),
    selectable=("status.phase",),
    default=_default,
    check_create=_check,
    check_update=lambda _old, new: _check_update(new),
    check_delete=_check_delete,
    contains=True,
    subresources=(Subresource("finalize", ("update",), "Namespace"),),
)
