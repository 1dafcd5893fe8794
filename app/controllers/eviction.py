"""Evictions, which `kubectl drain` asks for: a pod that is over goes; one whose guest runs stays until draining is built."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.controllers.birth import Birth
from app.controllers.documents import key_of
from app.controllers.pods import is_finished
from app.kinds import POD
from app.machinery.errors import ApiError, not_found, resource_details
from app.machinery.lifecycle import check_preconditions, prepare_delete
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Store

_SUCCESS: Document = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


@dataclass(frozen=True, slots=True)
class Evictions:
    """Answers `pods/eviction`; bound by wiring."""

    store: Store
    birth: Birth = field(default_factory=Birth)

    async def answer(self, _verb: str, key: Key, eviction: Document, dry_run: bool) -> Document:
        """The Status of one that was evicted. Raises ApiError: 404, 409 for another pod than was meant, 429 for later."""
        options: Document = eviction.get("deleteOptions") or {}
        async with self.store.transaction(serial=True) as tx:
            try:
                stored = await tx.get(key)
            except NotFound as error:
                raise not_found(POD.plural, POD.group_version.group, key.name) from error
            pod = stored.document
            check_preconditions(POD, pod, options)
            if not is_finished(pod):
                raise _not_yet(key)
            # `kubectl drain --dry-run=server` says it in the body.
            if dry_run or options.get("dryRun"):
                return dict(_SUCCESS)
            marked = prepare_delete(POD, pod, options, now=self.birth.stamp())
            if marked is None:
                tx.delete(key_of(POD, pod), revision=stored.revision)
            else:
                tx.replace(key_of(POD, pod), marked)
        return dict(_SUCCESS)


def _not_yet(pod: Key) -> ApiError:
    """kubectl asks again after a 429; after anything else it would give up, and without evictions delete the pods."""
    message = f'Cannot evict pod "{pod.name}": draining is not built yet; create a Migration of its VirtualMachine'
    return ApiError(429, "TooManyRequests", message, resource_details(POD.plural, "", pod.name))
