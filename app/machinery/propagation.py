"""What becomes of an object's dependents: the finalizers that stand for a policy, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence

from app.machinery.objects import Document

ORPHAN = "orphan"
"""The dependents stay, without their references to the object, which goes after that."""
FOREGROUND = "foregroundDeletion"
"""The dependents that block the object go first."""

_POLICIES = {"Orphan": ORPHAN, "Foreground": FOREGROUND, "Background": ""}


def with_policy(finalizers: Sequence[str], options: Document) -> list[str]:
    """The finalizers under a DeleteOptions: what it says wins over what an earlier deletion or the object's maker said."""
    wanted = _wanted(options)
    if wanted is None:
        return list(finalizers)
    others = [name for name in finalizers if name not in (ORPHAN, FOREGROUND)]
    return [*others, wanted] if wanted else others


def _wanted(options: Document) -> str | None:
    """The finalizer of the policy, "" for the background's, None when nothing known is said."""
    if options.get("orphanDependents") is not None:
        return ORPHAN if options["orphanDependents"] else ""
    policy = options.get("propagationPolicy")
    return _POLICIES.get(str(policy))
