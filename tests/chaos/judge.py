"""Whether what was logged may have happened: the store's log of changes in, what is wrong with it out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.kinds import MIGRATION, NODE, POD, VIRTUAL_MACHINE, names
from app.kinds.quantity import whole

Document = dict[str, Any]
RANK = {"": 0, "Pending": 1, "Scheduling": 2, "Running": 3, "Succeeded": 4, "Failed": 4}
OVER = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the log. Of a deletion, the object as it was last."""

    revision: int
    type: str
    resource: str
    name: str
    """namespace/name"""
    body: Document


@dataclass(frozen=True, slots=True)
class Slot:
    """A migration that was let run."""

    migration: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How many may run at once."""

    cluster: int = 5
    outbound: int = 2
    inbound: int = 2


@dataclass
class Judge:
    """Reads the log once, in order. `wrong` is what must never be."""

    limits: Limits = field(default_factory=Limits)
    wrong: list[str] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)
    """How Migrations ended, with their reasons."""
    places: dict[str, str] = field(default_factory=dict)
    """Where each VirtualMachine's guest is by what its Migrations said: UID to node."""
    most: int = 0
    """Slots that were taken at once."""
    adds: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """(resource, name, uid) to the revision in which it came."""
    _alive: dict[tuple[str, str], Document] = field(default_factory=dict)
    _slots: dict[str, Slot] = field(default_factory=dict)
    _revision: int = 0

    def read(self, change: Change) -> None:
        """The next one."""
        key = (change.resource, change.name)
        before = self._alive.get(key)
        self._check_order(change, before)
        if change.type == "DELETED":
            self._alive.pop(key, None)
        else:
            self._alive[key] = change.body
        if change.type == "ADDED":
            self.adds[(*key, change.body["metadata"]["uid"])] = change.revision
        match change.resource:
            case MIGRATION.resource:
                self._migration(change, before)
            case POD.resource:
                self._pod(change, before)
            case VIRTUAL_MACHINE.resource:
                self._machine(change)
            case _:
                return

    def of(self, resource: str) -> Mapping[str, Document]:
        """What there is now, by namespace/name."""
        return {name: body for (kind, name), body in self._alive.items() if kind == resource}

    def _say(self, change: Change, what: str) -> None:
        self.wrong.append(f"revision {change.revision}, {change.resource} {change.name}: {what}")

    def _check_order(self, change: Change, before: Document | None) -> None:
        if change.revision <= self._revision:
            self._say(change, f"comes after revision {self._revision}")
        self._revision = change.revision
        if (change.type == "ADDED") is not (before is None):
            self._say(change, f"{change.type}, and it was {'not there' if before is None else 'there'}")
        if before is not None and before["metadata"]["uid"] != change.body["metadata"]["uid"]:
            self._say(change, "changed its uid")

    # Migrations.

    def _migration(self, change: Change, before: Document | None) -> None:
        was, now = _phase(before), _phase(change.body)
        if RANK[now] < RANK[was] or (was in OVER and now != was):
            self._say(change, f"went from {was} to {now}")
        if change.type == "DELETED" and now not in OVER:
            self._say(change, f"was deleted while {now}")
        if now in OVER and was not in OVER:
            self._ended(change, now)

    def _ended(self, change: Change, phase: str) -> None:
        state = change.body["status"].get("migrationState") or {}
        reason = _reason(change.body, phase)
        self.phases[f"{phase}/{reason}"] += 1
        uid = str(change.body["status"].get("instance", ""))
        here = self.places.get(uid)
        if not state.get("migrationPod") or here is None:
            return  # it never ran
        if state.get("sourceNode") != here:
            self._say(change, f"moved from {state.get('sourceNode')}, and the guest was on {here}")
        if phase == "Succeeded":
            self.places[uid] = str(state["targetNode"])

    # Guests, slots and reservations.

    def _machine(self, change: Change) -> None:
        uid = change.body["metadata"]["uid"]
        if change.type == "DELETED":
            self.places.pop(uid, None)
            return
        node = (change.body.get("status") or {}).get("nodeName")
        if node and uid not in self.places:
            self.places[uid] = str(node)

    def _pod(self, change: Change, before: Document | None) -> None:
        labels = change.body["metadata"].get("labels") or {}
        migration = labels.get(names.MIGRATION_UID, "")
        if labels.get(names.APP) == names.APP_MIGRATION:
            if change.type == "DELETED" or _phase(change.body) in OVER:
                self._slots.pop(migration, None)
            return
        if change.type != "ADDED":
            return
        node = change.body["spec"].get("nodeName", "")
        if migration:
            self._slots[migration] = Slot(migration, self._source(change, labels), node)
            self._check_slots(change)
        self._check_memory(change, node)

    def _source(self, change: Change, labels: Document) -> str:
        namespace = change.name.partition("/")[0]
        vm = self._alive.get((VIRTUAL_MACHINE.resource, f"{namespace}/{labels[names.DOMAIN]}"))
        return str(((vm or {}).get("status") or {}).get("nodeName", ""))

    def _check_slots(self, change: Change) -> None:
        held = self._held()
        running = [slot for slot in self._slots.values() if slot.migration not in held]
        self.most = max(self.most, len(running))
        out = Counter(slot.source for slot in self._slots.values())
        into = Counter(slot.target for slot in self._slots.values())
        if len(running) > self.limits.cluster:
            self._say(change, f"{len(running)} run at once in the cluster")
        if max(out.values()) > self.limits.outbound:
            self._say(change, f"run out of nodes: {dict(out)}")
        if max(into.values()) > self.limits.inbound:
            self._say(change, f"run into nodes: {dict(into)}")

    def _held(self) -> set[str]:
        return {
            body["metadata"]["uid"]
            for body in self.of(MIGRATION.resource).values()
            if any(one["type"] == "Held" for one in (body.get("status") or {}).get("conditions") or [])
        }

    def _check_memory(self, change: Change, node: str) -> None:
        known = self._alive.get((NODE.resource, f"/{node}"))
        offered = ((known or {}).get("status") or {}).get("allocatable", {}).get("memory")
        if offered is None:
            return
        pods = self.of(POD.resource).values()
        taken = sum(_memory(pod) for pod in pods if pod["spec"].get("nodeName") == node and _phase(pod) not in OVER)
        if taken > whole(offered):
            self._say(change, f"{node} offers {offered}, and {taken} bytes are reserved")


def _phase(body: Document | None) -> str:
    return str(((body or {}).get("status") or {}).get("phase") or "")


def _reason(body: Document, phase: str) -> str:
    conditions = (body.get("status") or {}).get("conditions") or []
    return next((str(one.get("reason")) for one in conditions if one["type"] == phase), "?")


def _memory(pod: Document) -> int:
    return sum(
        whole(str(((container.get("resources") or {}).get("requests") or {}).get("memory", "0")))
        for container in pod["spec"].get("containers") or []
    )


def missed(told: list[tuple[str, int, str]], log: list[Change], resource: str, since: int) -> list[str]:
    """How what a watcher was told differs from the log after that revision."""
    meant = [(one.type, one.revision, one.name) for one in log if one.resource == resource and one.revision > since]
    if told == meant:
        return []
    lost, twice = sorted(set(meant) - set(told)), [one for one, count in Counter(told).items() if count > 1]
    more = sorted(set(told) - set(meant))
    return [f"watch of {resource}: missed {lost[:5]} ({len(lost)}), repeated {twice[:5]}, made up {more[:5]}"]
