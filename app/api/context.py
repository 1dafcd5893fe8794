"""What every handler of this side works with: the store, the hooks that wiring bound, the clock."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from app.api.admission.judge import Admission
from app.api.attendance import Attendance
from app.api.deadlines import Deadlines
from app.api.representation import Representations
from app.api.routes import Served
from app.api.uids import random_uid
from app.machinery.access import Attributes, User
from app.machinery.names import SUFFIX_ALPHABET, SUFFIX_LENGTH
from app.machinery.objects import Document
from app.store.base import Key, Store, Transaction

SubresourceHandler = Callable[[str, Key, Document, bool], Awaitable[Document]]
"""(verb, parent's key, body, dry run) → the answer's document; verbs are get, create and update. Raises ApiError."""

DeleteGuard = Callable[[Transaction, Document], Awaitable[None]]
"""Judges a delete in its own serial transaction. Raises ApiError to refuse."""


@dataclass(frozen=True, slots=True)
class Written:
    """A write that is well in itself, before it is stored."""

    user: User
    old: Document | None
    """None: it is new."""
    new: Document
    dry_run: bool = False


WriteGuard = Callable[[Written], Awaitable[None]]
"""Judges a write by who writes. Raises ApiError to refuse."""

EnsureMay = Callable[[User, Attributes], Awaitable[None]]
"""Raises 403 unless the user may."""

Preview = Callable[[Document], Awaitable[Document]]
"""A new object as a dry run would create it → the same with the status that it would have. Writes nothing."""


NamespaceLookup = Callable[[str], Awaitable[Document]]
"""A namespace by its name, where it is kept by somebody else; from then on a create can be judged by the store's own copy of it.
Raises NotFound, and ApiError when whoever keeps it does not answer."""


async def anybody_may(_user: User, _asked: Attributes) -> None:
    """For an application without a gate."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def random_suffix() -> str:
    """What a generated name ends in."""
    return "".join(random.choices(SUFFIX_ALPHABET, k=SUFFIX_LENGTH))


@dataclass(frozen=True)
class Context:
    """Handed to each handler once, when the API is made."""

    store: Store
    representations: Representations
    handlers: Mapping[tuple[str, str], SubresourceHandler] = field(default_factory=dict)
    guards: Mapping[str, DeleteGuard] = field(default_factory=dict)
    previews: Mapping[str, Preview] = field(default_factory=dict)
    write_guards: Mapping[str, WriteGuard] = field(default_factory=dict)
    ensure_may: EnsureMay = anybody_may
    clock: Callable[[], datetime] = utc_now
    uid: Callable[[], str] = random_uid
    suffix: Callable[[], str] = random_suffix
    namespaces: NamespaceLookup | None = None
    """None: they are objects of the store like any other."""
    deadlines: Deadlines = field(default_factory=Deadlines)
    told: Callable[[Served, int], None] = lambda _served, _events: None
    """Hears how many events went out to a watch."""
    admission: Admission = field(default_factory=Admission)
    attended: Mapping[str, Attendance] = field(default_factory=dict)
    """By kind: what a write of it is for, and whether that is there."""

    def now(self) -> str:
        """The time as metadata carries it: RFC 3339, whole seconds."""
        return _stamp(int(self.clock().timestamp()))


@lru_cache(maxsize=8)
def _stamp(second: int) -> str:
    """Made once in a second, however many are created in it."""
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat() + "Z"
