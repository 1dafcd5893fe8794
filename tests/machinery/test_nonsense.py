"""Whatever is sent for whichever kind: it is taken, or refused with a Status; it never breaks anything."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import product
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.kinds import EVENT, MIGRATION, NAMESPACE, NODE, POD, VIRTUAL_MACHINE
from app.machinery import managed as owners
from app.machinery.apply import applied, ensure_applicable, ensure_new
from app.machinery.errors import ApiError, FieldError
from app.machinery.kind import Kind, nothing_wrong
from app.machinery.lifecycle import prepare_create, prepare_delete, prepare_update, validate_create, validate_update
from app.machinery.managed import with_entries
from app.machinery.objects import Document
from app.machinery.patch import json_patch, merge_patch, strategic_merge_patch
from app.machinery.schema import schema_of
from app.machinery.table import table
from tests.machinery.examples import NOW, UID

AnyKind = Kind[Any, Any]

MADE_POD: AnyKind = dataclasses.replace(POD, check_create=nothing_wrong)
"""Clients may not create pods; Drover does, and then they are updated like anything else."""

SENT: dict[AnyKind, Document] = {
    MIGRATION: {"spec": {"selector": {"name": "testvm"}, "nodeSelector": {"a": "b"}}},
    VIRTUAL_MACHINE: {
        "spec": {
            "domain": {
                "memory": {"value": 64, "unit": "MB"},
                "type": "qemu",
                "os": {"type": {"os": "hvm"}},
                "devices": {},
            },
            "nodeSelector": {"a": "b"},
        }
    },
    NODE: {"spec": {"providerID": "qemu+tls://h1/system", "taints": [{"key": "a", "effect": "NoSchedule"}]}},
    MADE_POD: {"spec": {"nodeName": "n", "containers": [{"name": "compute"}]}},
    NAMESPACE: {},
    EVENT: {
        "involvedObject": {"kind": "Migration", "name": "m", "namespace": "default"},
        "reason": "Moved",
        "message": "there",
        "type": "Normal",
    },
}

JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        2**62,
        "",
        "x",
        "a b",
        "\u0000",
        [],
        [None],
        ["x"],
        [{}],
        {},
        {"a": None},
        {"x": {"y": []}},
    ]
)


def sent(kind: AnyKind) -> Document:
    """A good one, as a client sends it."""
    metadata: Document = {
        "name": "testvm",
        "labels": {"a": "b"},
        "finalizers": ["a/b"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"}],
    }
    identity = {"apiVersion": str(kind.group_version), "kind": kind.name}
    return {**identity, "metadata": metadata, **copy.deepcopy(SENT[kind])}


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a document but its root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, below in items:
        yield (*path, step)
        yield from places(below, (*path, step))


def spoiled(document: Document, path: tuple[str | int, ...], junk: Any) -> Document:
    root: Any = copy.deepcopy(document)
    parent = root
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = copy.deepcopy(junk)
    spoiled_document: Document = root
    return spoiled_document


def created(kind: AnyKind, document: Document) -> Document:
    """Through everything that a create goes through. Raises ApiError."""
    document = copy.deepcopy(document)
    schema_of(kind).prune(document)
    if schema_of(kind).fits(document):
        assert judged(kind, document, fits=True) == judged(kind, document, fits=False)
    prepared, errors = judged(kind, document, fits=False)
    if errors:
        raise ApiError(422, "Invalid", "")
    return with_entries(prepared, owners.created(kind, prepared, writer(kind)))


def judged(kind: AnyKind, document: Document, *, fits: bool) -> tuple[Document, list[FieldError]]:
    """What fits need not be looked through again, and comes to the same. Raises ApiError."""
    prepared = prepare_create(
        kind,
        kind.group_version,
        copy.deepcopy(document),
        namespace="default" if kind.namespaced else "",
        now=NOW,
        uid=UID,
        suffix="bcdfg",
        fits=fits,
    )
    return prepared, validate_create(kind, prepared, fits=fits)


def writer(kind: AnyKind) -> owners.Writer:
    return owners.Writer("m1", str(kind.group_version), NOW)


def apply(kind: AnyKind, live: Document, config: Document) -> Document:
    """Through everything that an apply goes through before it is a create or an update. Raises ApiError."""
    ensure_applicable(kind, kind.group_version, config)
    return applied(kind, live, copy.deepcopy(config), writer(kind), force=True)[0]


def taken_or_refused(act: Callable[[], object]) -> bool:
    try:
        act()
    except ApiError:
        return False
    return True


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.name)
def test_a_good_one_is_taken(kind: AnyKind) -> None:
    document = created(kind, sent(kind))

    assert document["metadata"]["uid"] == UID
    assert "testvm" in table(kind, [document], now=datetime.fromisoformat(NOW))["rows"][0]["cells"]


def tried(kind: AnyKind, data: st.DataObject) -> None:
    """Spoil one place, then create, update, patch, apply, print and delete."""
    good = created(kind, sent(kind))
    good["metadata"]["resourceVersion"] = "7"
    client_says = sent(kind)
    bad = spoiled(client_says, data.draw(st.sampled_from(sorted(places(client_says), key=str))), data.draw(JUNK))
    place = data.draw(st.sampled_from(sorted(places(good), key=str)))
    junk = data.draw(JUNK)

    def updated(wanted: Document, subresource: str | None = None) -> None:
        schema_of(kind).prune(wanted)
        new = prepare_update(kind, kind.group_version, good, wanted, subresource=subresource, patched=True)
        if not validate_update(kind, good, new):
            new = with_entries(
                new, owners.updated(kind, good, new, wanted["metadata"].get("managedFields"), writer(kind))
            )
            table(kind, [new], now=datetime.fromisoformat(NOW))
            prepare_delete(kind, new, {}, now=NOW)
            assert orjson.loads(orjson.dumps(new)) == new

    before = copy.deepcopy(good)
    taken_or_refused(lambda: created(kind, bad))
    pointer = "/" + "/".join(str(step).replace("/", "~1") for step in place)
    operation = {"op": data.draw(st.sampled_from(["add", "replace", "test"])), "path": pointer, "value": junk}
    taken_or_refused(lambda: updated(json_patch(good, [operation])))
    merge: Any = junk
    for step in reversed(place):
        merge = {step: merge} if isinstance(step, str) else [merge]
    merged: list[Callable[[], Document]] = [
        lambda: copy.deepcopy(merge_patch(good, merge)),
        lambda: copy.deepcopy(strategic_merge_patch(good, merge, schema_of(kind))),
    ]
    for wanted, subresource in product(merged, (None, "status")):
        taken_or_refused(lambda w=wanted, s=subresource: updated(w(), s))  # type: ignore[misc]
    ours = bad if data.draw(st.booleans()) else spoiled(client_says, place[:1], junk)
    taken_or_refused(lambda: updated(apply(kind, good, ours)))
    taken_or_refused(lambda: created(kind, ensure_new(kind, apply(kind, {}, ours), "testvm")))
    assert good == before


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.name)
def test_a_spoiled_one_is_taken_or_refused(kind: AnyKind) -> None:
    @settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))  # other tests share the cores
    @given(st.data())
    def try_many(data: st.DataObject) -> None:
        tried(kind, data)

    try_many()
