"""The cluster's namespaces, mirrored into the store: writes judge them there, in their own transaction.

One process follows the cluster for all. Whoever finds a namespace missing in the mirror, or closing, asks the cluster itself:
so a namespace can be used the moment it is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import quote

import structlog

from app.cluster.base import Change, Cluster, Refused, Unreachable
from app.cluster.follow import Follower
from app.controllers.pods import is_leaving
from app.kinds import NAMESPACE
from app.machinery.errors import ApiError
from app.machinery.names import dns_label
from app.machinery.objects import Document
from app.store.base import AlreadyExists, Conflict, Key, NotFound, Objects, Scope, Store, Stored, StoreError

log = structlog.get_logger()

PATH = "/api/v1/namespaces"
THEIRS = "kubevirt.io/cluster-resource-version"
"""Annotation of the mirrored object: the cluster's version of it, so that older news never replaces newer."""
ATTEMPTS = 5
STORE_AWAY_S = 2.0
"""The wait after the database failed."""
_KEPT = ("name", "uid", "creationTimestamp", "deletionTimestamp", "labels")


class NamespaceMirror:
    """Several may write at once: what they write is what the cluster said, and the newest stays."""

    def __init__(self, store: Store, cluster: Cluster, *, first_s: float = 0.8) -> None:
        self._objects: Objects = store.objects
        self._cluster = cluster
        self._first_s = first_s

    async def run(self) -> None:
        """Follows the cluster until cancelled; while it is away, the mirror stays as it was."""
        while True:
            try:
                await Follower(self._cluster, PATH, self._listed, self._changed, first_s=self._first_s).run()
            except StoreError as error:
                log.warning("namespaces are not mirrored now", error=str(error))
                await asyncio.sleep(STORE_AWAY_S)

    async def look(self, name: str) -> Document:
        """The namespace, from the cluster itself where the mirror has none that can be used. Raises NotFound, and 500 where
        the cluster does not answer."""
        found = await self._found(_key(name))
        if found is not None and not is_leaving(found.document):
            return found.document
        if any(dns_label(name)):
            raise NotFound(name)
        try:
            theirs = await self._cluster.get(f"{PATH}/{quote(name, safe='')}")
        except Refused as error:
            if error.code != 404:
                raise _unknown(name, error) from error
            if found is not None:
                await self._forget(found, "")
            raise NotFound(name) from error
        except Unreachable as error:
            raise _unknown(name, error) from error
        await self._take(theirs)
        return mirrored(theirs)

    async def _listed(self, items: Sequence[Document]) -> None:
        seen = {str(item["metadata"]["name"]) for item in items}
        before = (await self._objects.list(Scope(NAMESPACE.resource))).items
        for item in items:
            await self._take(item)
        for stored in before:
            if stored.key.name not in seen:
                await self._forget(stored, "")

    async def _changed(self, change: Change) -> None:
        if change.type == "DELETED":
            stored = await self._found(_key(str(change.object["metadata"]["name"])))
            if stored is not None:
                await self._forget(stored, str(change.object["metadata"].get("resourceVersion") or ""))
        else:
            await self._take(change.object)

    async def _take(self, theirs: Document) -> None:
        """Mirrors it, unless what is there is newer. A namespace of another uid is another one, of the same name."""
        wanted = mirrored(theirs)
        key = _key(str(wanted["metadata"]["name"]))
        for _ in range(ATTEMPTS):
            stored = await self._found(key)
            try:
                if stored is None:
                    await self._objects.create(key, wanted)
                elif stored.document["metadata"].get("uid") != wanted["metadata"].get("uid"):
                    await self._objects.delete(key, revision=stored.revision)
                    continue
                elif is_newer(_version(wanted), _version(stored.document)):
                    current = {**wanted["metadata"], "resourceVersion": str(stored.revision)}
                    await self._objects.replace(key, {**wanted, "metadata": current})
            except (AlreadyExists, Conflict, NotFound):
                continue
            return
        log.warning("a namespace is not mirrored now: others write it", namespace=key.name)

    async def _forget(self, stored: Stored, version: str) -> None:
        """It is gone there; or another one of its name is there already, of which newer news has come."""
        if version and is_newer(_version(stored.document), version):
            return
        try:
            await self._objects.delete(stored.key, revision=stored.revision)
        except (Conflict, NotFound):
            return
        log.info("namespace gone in the cluster", namespace=stored.key.name)

    async def _found(self, key: Key) -> Stored | None:
        try:
            return await self._objects.get(key)
        except NotFound:
            return None


def mirrored(theirs: Document) -> Document:
    """What of a namespace is kept here. Its content finalizers are the cluster's business: without one nobody here acts."""
    metadata = theirs["metadata"]
    kept = {name: metadata[name] for name in _KEPT if metadata.get(name) is not None}
    kept["annotations"] = {THEIRS: str(metadata.get("resourceVersion") or "")}
    status = {"phase": (theirs.get("status") or {}).get("phase") or "Active"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": kept, "spec": {}, "status": status}


def is_newer(one: str, other: str) -> bool:
    """Versions of one resource are ordered as numbers; what is no number is taken as it comes."""
    if not one.isdecimal() or not other.isdecimal():
        return one != other
    return int(one) > int(other)


def _version(document: Document) -> str:
    return str((document["metadata"].get("annotations") or {}).get(THEIRS) or "")


def _key(name: str) -> Key:
    return Key(NAMESPACE.resource, "", name)


def _unknown(name: str, error: Exception) -> ApiError:
    """In the words of kube-apiserver's NamespaceLifecycle, which answers so when its lookup fails."""
    message = f"the cluster does not tell of namespace {name}: {error}"
    return ApiError(500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]})
