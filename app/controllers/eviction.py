"""Evictions, which `kubectl drain` asks for: a pod that is over goes; a guest's pod stays until a Migration has moved it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from app.controllers.birth import Birth
from app.controllers.evacuate import Evacuations
from app.controllers.evacuation import Wait
from app.controllers.pods import is_finished
from app.kinds import POD, VIRTUAL_MACHINE, names
from app.kinds.pod import Phase
from app.machinery.decoding import SCHEME, in_any_case
from app.machinery.errors import ApiError, bad_request, not_found, resource_details
from app.machinery.go_json import cannot_unmarshal
from app.machinery.lifecycle import check_preconditions, prepare_delete
from app.machinery.objects import Document
from app.store.base import Conflict, Key, NotFound, Store, Stored, Transaction

_SUCCESS: Document = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_MOVES = Wait("a Migration is to be made")
ATTEMPTS = 5
"""Events are counted by many: who loses to such a write looks again."""


@dataclass(frozen=True, slots=True)
class Evictions:
    """Answers `pods/eviction`; bound by wiring."""

    store: Store
    birth: Birth = field(default_factory=Birth)

    async def answer(self, _verb: str, key: Key, eviction: Document, dry_run: bool) -> Document:
        """
        The Status of one that was evicted. Raises ApiError: 400, 404, 409 for another pod than was meant, and 429 for a guest's
        pod, which is to be asked for again: that goes on until the guest has left. A dry run of it succeeds where a
        Migration would be made, or is under way.
        """
        _ensure_meant(key, eviction)
        options: Document = eviction.get("deleteOptions") or {}
        # `kubectl drain --dry-run=server` says it in the body.
        dry = dry_run or bool(options.get("dryRun"))
        for attempt in range(ATTEMPTS):
            try:
                # A drain asks again and again for every guest of a node: while there is only to wait, nobody is held up.
                if not await self._evict(key, options, dry, serial=False):
                    await self._evict(key, options, dry, serial=True)
                return dict(_SUCCESS)
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("BUG: an eviction with no attempts")

    async def _evict(self, key: Key, options: Document, dry: bool, *, serial: bool) -> bool:
        """Whether that was all; False where a Migration is to be made, which needs a serial transaction. A refusal is raised
        after the commit: what it speaks of has happened by then."""
        async with self.store.transaction(serial=serial) as tx:
            try:
                stored = await tx.get(key)
            except NotFound as error:
                raise not_found(POD.plural, POD.group_version.group, key.name) from error
            pod = stored.document
            check_preconditions(POD, pod, options)
            if is_finished(pod):
                if not dry:
                    self._remove(tx, stored, options)
                return True
            refusal = await self._why_not(tx, pod, makes=serial and not dry)
        if refusal is _MOVES:
            return dry
        if dry and not refusal.stuck:
            return True
        raise _not_yet(key, refusal.message)

    def _remove(self, tx: Transaction, stored: Stored, options: Document) -> None:
        marked = prepare_delete(POD, stored.document, options, now=self.birth.stamp())
        if marked is None:
            tx.delete(stored.key, revision=stored.revision)
        else:
            tx.replace(stored.key, marked)

    async def _why_not(self, tx: Transaction, pod: Document, *, makes: bool) -> Wait:
        """_MOVES where a Migration would be made and `makes` does not say so."""
        labels = pod["metadata"].get("labels") or {}
        moves = labels.get(names.MIGRATION_NAME)
        if labels.get(names.APP) != names.APP_LAUNCHER:
            help_ = f': it goes when Migration "{moves}" ends, which deleting that Migration hastens' if moves else ""
            return Wait(f"Cannot evict a process that moves a guest{help_}", stuck=True)
        namespace, name = pod["metadata"]["namespace"], labels.get(names.DOMAIN, "")
        try:
            vm = (await tx.get(Key(VIRTUAL_MACHINE.resource, namespace, name))).document
        except NotFound:
            return Wait(f'Cannot evict a guest whose VirtualMachine "{name}" is not there', stuck=True)
        node = pod["spec"].get("nodeName", "")
        at = (vm.get("status") or {}).get("nodeName")
        # Of one that runs the guest has just left for another node: its own Migration is to be told of.
        if moves and at != node and (pod.get("status") or {}).get("phase") != Phase.RUNNING:
            arrives = f'Migration "{moves}" brings VirtualMachine "{name}" here'
            message = f"Cannot evict a reservation: {arrives}, or failed and {node} has not said that it holds no copy"
            return Wait(message, stuck=True)
        wait = await Evacuations(self.birth).take_out(tx, vm, node, dry_run=not makes)
        if wait is None and not makes:
            return _MOVES
        return _worded(
            f'Eviction triggered evacuation of VMI "{namespace}/{name}"', wait or Wait("a Migration was made")
        )


def _ensure_meant(pod: Key, eviction: Document) -> None:
    """It is an Eviction, and of this pod where it says of which. Raises ApiError 400."""
    said = in_any_case(eviction)
    kind, version = said.get("kind") or "Eviction", said.get("apiVersion") or "policy/v1"
    if kind != "Eviction" or version not in ("policy/v1", "policy/v1beta1"):
        raise _no_eviction(f'no kind "{kind}" is registered for version "{version}" in scheme "{SCHEME}"', kind)
    options = _object(eviction, "deleteOptions", "v1.DeleteOptions", "Eviction")
    _object(options, "preconditions", "v1.Preconditions", "DeleteOptions.deleteOptions")
    metadata = _object(eviction, "metadata", "v1.ObjectMeta", "Eviction")
    if metadata.get("namespace") not in (None, "", pod.namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if metadata.get("name") not in (None, "", pod.name):
        raise bad_request("name in URL does not match name in Eviction object")


def _object(holder: Document, name: str, go_type: str, place: str) -> Document:
    """The field of that name. Raises ApiError 400 for what is no object."""
    found = holder.get(name) or {}
    if not isinstance(found, dict):
        raise _no_eviction(cannot_unmarshal(found, go_type, f"{place}.{name}"))
    return found


def _no_eviction(why: str, kind: object = "Eviction") -> ApiError:
    return bad_request(f'{kind} in version "v1" cannot be handled as a Eviction: {why}')


def _worded(triggered: str, wait: Wait) -> Wait:
    """Of one that is stuck no evacuation was triggered."""
    return replace(wait, message=f"Cannot evict pod: {wait.message}" if wait.stuck else f"{triggered}: {wait.message}")


def _not_yet(pod: Key, message: str) -> ApiError:
    """kubectl asks again after a 429, every five seconds; after anything else it would give up."""
    return ApiError(429, "TooManyRequests", message, resource_details(POD.plural, "", pod.name))
