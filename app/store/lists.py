"""Lists that were read before: still true for as long as the stamp of their scope has not moved."""

from __future__ import annotations

from dataclasses import replace

from app.store.base import Listing, Scope
from app.store.reading import Head

HELD_BYTES = 8 << 20
"""How large the kept objects may be together: a few pages, and never a whole large collection."""

Asked = tuple[Scope, int]
"""A scope and a limit, from the first object on."""


class Lists:
    """The last few, each as it was when it was read."""

    def __init__(self, held_bytes: int = HELD_BYTES) -> None:
        self._held_bytes = held_bytes
        self._kept: dict[Asked, Listing] = {}
        self._bytes = 0

    def key(self, scope: Scope, limit: int) -> Asked | None:
        """None for what has no stamp."""
        return (scope, limit) if scope.resource is not None and scope.name is None else None

    def __contains__(self, asked: object) -> bool:
        return asked in self._kept

    def at(self, asked: Asked | None, head: Head) -> Listing | None:
        """The list as it is at that head; None where it has to be read anew."""
        kept = self._kept.get(asked) if asked is not None else None
        if kept is None or kept.content != (asked, head.stamp):
            return None
        remaining = max(0, head.count - len(kept.items)) if asked is not None and asked[1] else 0
        return replace(kept, revision=head.revision, remaining=remaining)

    def keep(self, asked: Asked | None, listing: Listing) -> None:
        if asked is None or listing.content is None:
            return
        self._forget(asked)
        self._kept[asked] = listing
        self._bytes += _size(listing)
        while self._bytes > self._held_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, asked: Asked) -> None:
        gone = self._kept.pop(asked, None)
        if gone is not None:
            self._bytes -= _size(gone)


def _size(listing: Listing) -> int:
    return sum(len(stored.body) for stored in listing.items) + 64
