"""The port to a cluster's API: documents in and out, watches, and errors that say whether trying again would help."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from app.machinery.objects import Document

NOTHING: Mapping[str, str] = MappingProxyType({})


class ClusterError(Exception):
    """The cluster did not do what was asked."""


class Unreachable(ClusterError):
    """No answer: the text says why. Nobody knows whether what was asked has been done."""


class Refused(ClusterError):
    """An answer of 400 and above: nothing has been done."""

    def __init__(self, code: int, reason: str, message: str, causes: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        """metav1.Status's word: NotFound, Forbidden, AlreadyExists, …; "" where the answer was no Status."""
        self.causes = causes
        """The reasons of its causes, such as NamespaceTerminating."""

    @property
    def passing(self) -> bool:
        """May the same be answered otherwise a moment later?"""
        return self.code == 429 or self.code >= 500


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch: ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: Document


class Cluster(Protocol):
    """A kube-apiserver, asked as the identity that it was given. Each method raises Unreachable and Refused."""

    async def get(self, path: str, query: Mapping[str, str] = NOTHING) -> Document: ...

    async def create(self, path: str, document: Document) -> Document: ...

    async def merge(self, path: str, patch: Document) -> Document:
        """A JSON merge patch."""

    def watch(
        self, path: str, since: str, query: Mapping[str, str] = NOTHING
    ) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """Changes after a resource version. Ends by itself after some minutes; raises Refused 410 where that version is
        too old."""
