"""The judge finds what must never be, in logs that were spoilt by hand; and nothing in one that may have happened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.kinds import MIGRATION, NODE, POD, VIRTUAL_MACHINE
from tests.chaos.judge import Change, Judge, Limits, missed

Document = dict[str, Any]


def change(revision: int, type_: str, resource: str, name: str, **body: Any) -> Change:
    namespaced = name if "/" in name else f"/{name}"
    metadata = {"name": name, "uid": f"uid-{name}", **body.pop("metadata", {})}
    return Change(revision, type_, resource, namespaced, {"metadata": metadata, **body})


def node(revision: int, name: str, memory: str = "4Gi") -> Change:
    return change(revision, "ADDED", NODE.resource, name, status={"allocatable": {"memory": memory}})


def machine(revision: int, name: str, at: str, type_: str = "ADDED") -> Change:
    return change(revision, type_, VIRTUAL_MACHINE.resource, f"default/{name}", status={"nodeName": at})


def migration(revision: int, name: str, vm: str, phase: str, type_: str = "MODIFIED", **state: str) -> Change:
    status = {
        "phase": phase, "instance": f"uid-default/{vm}", "migrationState": state,
        "conditions": [{"type": phase, "reason": "Moved"}],
    }  # fmt: skip
    return change(revision, type_, MIGRATION.resource, f"default/{name}", status=status)


def target(revision: int, name: str, vm: str, at: str, memory: str = "64Mi") -> Change:
    """The pod that a Migration's start makes."""
    labels = {
        "kubevirt.io": "virt-launcher", "kubevirt.io/domain": vm, "kubevirt.io/migrationUID": f"uid-default/{name}"
    }  # fmt: skip
    spec = {"nodeName": at, "containers": [{"resources": {"requests": {"memory": memory}}}]}
    return change(
        revision, "ADDED", POD.resource, f"default/launcher-{name}", metadata={"labels": labels}, spec=spec, status={}
    )


def process(revision: int, name: str, phase: str, type_: str = "MODIFIED") -> Change:
    labels = {"kubevirt.io": "migration", "kubevirt.io/migrationUID": f"uid-default/{name}"}
    return change(
        revision,
        type_,
        POD.resource,
        f"default/pod-{name}",
        metadata={"labels": labels},
        spec={},
        status={"phase": phase},
    )


def moved(first: int, name: str, vm: str, source: str, to: str) -> Iterator[Change]:
    """A Migration from its creation to its end, six changes."""
    state = {"sourceNode": source, "targetNode": to, "migrationPod": f"pod-{name}"}
    yield migration(first, name, vm, "", "ADDED")
    yield target(first + 1, name, vm, to)
    yield process(first + 2, name, "Pending", "ADDED")
    yield migration(first + 3, name, vm, "Running", **state)
    yield process(first + 4, name, "Succeeded")
    yield migration(first + 5, name, vm, "Succeeded", **state)


def log() -> list[Change]:
    """Two hosts, a guest that moves there and back."""
    return [
        node(1, "a"), node(2, "b"), machine(3, "vm", "a"),
        *moved(4, "m0", "vm", "a", "b"), machine(10, "vm", "b", "MODIFIED"), *moved(11, "m1", "vm", "b", "a"),
    ]  # fmt: skip


def judged(changes: list[Change], limits: Limits = Limits()) -> Judge:  # noqa: B008  (frozen)
    judge = Judge(limits)
    for one in changes:
        judge.read(one)
    return judge


def test_a_log_that_may_have_happened_is_not_blamed() -> None:
    judge = judged(log())

    assert judge.wrong == []
    assert judge.places == {"uid-default/vm": "a"}
    assert judge.phases == {"Succeeded/Moved": 2}
    assert judge.most == 1


SPOILT = {
    "a revision comes again": [*log()[:5], replace(log()[5], revision=5)],
    "a change without a creation": log()[4:],
    "created twice": [*log(), replace(log()[0], revision=99)],
    "another uid": [*log(), change(99, "MODIFIED", NODE.resource, "a", metadata={"uid": "other"})],
    "a phase goes back": [*log()[:7], migration(8, "m0", "vm", "Pending")],
    "a final phase changes": [*log(), migration(99, "m1", "vm", "Failed")],
    "deleted before its end": [*log()[:7], migration(8, "m0", "vm", "Running", "DELETED")],
    "moved from where the guest was not": [*log(), *moved(30, "m2", "vm", "b", "a")],
    "said to have failed, and moved": [
        *log()[:8],
        migration(9, "m0", "vm", "Failed", sourceNode="a", targetNode="b", migrationPod="pod-m0"),
        *moved(11, "m1", "vm", "b", "a"),
    ],
    "reserved more than there is": [
        node(1, "a"),
        node(2, "b", "1Mi"),
        machine(3, "vm", "a"),
        target(4, "m", "vm", "b"),
    ],
}


@pytest.mark.parametrize("changes", SPOILT.values(), ids=SPOILT.keys())
def test_what_must_never_be_is_found(changes: list[Change]) -> None:
    assert judged(changes).wrong


def crowd(count: int, *, ended: bool = False) -> list[Change]:
    """So many that run at once, each from a host of its own to a host of its own."""
    changes = [change(1, "ADDED", NODE.resource, "a")]
    for number in range(count):
        first, name = 10 * number + 10, f"m{number}"
        changes.append(machine(first, f"vm{number}", f"from{number}"))
        changes.extend(list(moved(first + 1, name, f"vm{number}", f"from{number}", f"to{number}"))[: 6 if ended else 4])
    return changes


def test_so_many_at_once_are_allowed_and_no_more() -> None:
    assert judged(crowd(5)).wrong == []
    assert judged(crowd(5)).most == 5
    assert judged(crowd(6)).wrong
    assert judged(crowd(6, ended=True)).wrong == []


@pytest.mark.parametrize("limits", [Limits(5, 1, 5), Limits(5, 5, 1)], ids=["out", "into"])
def test_so_many_at_a_node_are_allowed_and_no_more(limits: Limits) -> None:
    one = [machine(1, "vm0", "a"), *list(moved(2, "m0", "vm0", "a", "b"))[:4]]
    two = [*one, machine(11, "vm1", "a"), *list(moved(12, "m1", "vm1", "a", "b"))[:4]]

    assert judged(one, limits).wrong == []
    assert judged(two, limits).wrong


def test_a_watcher_must_be_told_each_change_once() -> None:
    told = [(one.type, one.revision, one.name) for one in log() if one.resource == MIGRATION.resource]

    assert missed(told, log(), MIGRATION.resource, 0) == []
    assert missed(told[1:], log(), MIGRATION.resource, told[0][1]) == []
    assert missed(told[1:], log(), MIGRATION.resource, 0)
    assert missed([*told, told[-1]], log(), MIGRATION.resource, 0)
    assert missed([told[1], told[0], *told[2:]], log(), MIGRATION.resource, 0)
    assert missed([*told, ("MODIFIED", 99, "default/m1")], log(), MIGRATION.resource, 0)
