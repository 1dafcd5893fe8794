"""What a terminating namespace says of itself, in kube-controller-manager's words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.machinery.objects import Document

_WELL = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}
"""Every type, with the reason and message of its good state: False."""


def conditions(
    before: Sequence[Document], objects: Mapping[str, int], finalizers: Mapping[str, int], now: str
) -> list[Document]:
    """All of them; `objects` counts what is left by resource, `finalizers` who holds it. Times stay while a status does."""
    told = dict(_WELL)
    if objects:
        # The core group's name is empty, and the full stop stays.
        counted = (
            f"{name if '.' in name else name + '.'} has {number} resource instances"
            for name, number in _sorted(objects)
        )
        told["NamespaceContentRemaining"] = (
            "SomeResourcesRemain",
            f"Some resources are remaining: {', '.join(counted)}",
        )
    if finalizers:
        held = (f"{name} in {number} resource instances" for name, number in _sorted(finalizers))
        told["NamespaceFinalizersRemaining"] = (
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {', '.join(held)}",
        )
    former = {condition["type"]: condition for condition in before}
    return [
        _condition(former.get(type_), type_, reason, message, now, holds=(reason, message) != _WELL[type_])
        for type_, (reason, message) in told.items()
    ]


def _condition(former: Document | None, type_: str, reason: str, message: str, now: str, *, holds: bool) -> Document:
    status = "True" if holds else "False"
    same = former is not None and former.get("status") == status
    since = former.get("lastTransitionTime", now) if former is not None and same else now
    return {"type": type_, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}


def _sorted(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items())
