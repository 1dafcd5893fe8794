"""Server-side apply: what every sequence of applies keeps to, and the merges one by one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.machinery.apply import LAST_APPLIED, applied
from app.machinery.errors import ApiError
from app.machinery.fieldset import FieldSet, difference, union, without
from app.machinery.kind import KUBEVIRT
from app.machinery.managed import Operation, Writer, created, decoded, ownable, updated, with_entries
from app.machinery.objects import Document
from app.machinery.typed import type_of
from tests.machinery.examples import HOST, MACHINE, NOW, machine, stored

LATER = "2026-11-22T22:00:00Z"
TYPE = type_of(MACHINE)

NAMES = st.sampled_from(["a", "b", "c"])


def maps(values: st.SearchStrategy[Any], least: int) -> st.SearchStrategy[Document]:
    return st.dictionaries(NAMES, values, min_size=least, max_size=2)


def configs(least: int = 0) -> st.SearchStrategy[Document]:
    """What managers apply, each map with at least so many members. No empty list of items: nobody owns one, in
    Kubernetes neither."""
    free = st.recursive(
        st.integers(0, 1) | NAMES | st.lists(NAMES, max_size=2), lambda below: maps(below, least), max_leaves=5
    )
    disk = st.fixed_dictionaries({"name": NAMES}, optional={"size": NAMES})
    fields = {
        "nodeName": NAMES,
        "replicas": st.integers(0, 2),
        "disks": st.lists(disk, min_size=1, max_size=3, unique_by=lambda disk: disk["name"]),
        "nodeSelector": maps(NAMES, least),
        "extra": maps(free, least),
    }
    specs = st.fixed_dictionaries({}, optional=fields).filter(lambda spec: len(spec) >= least)
    return st.builds(
        lambda spec, labels: config(spec, labels=labels), specs | st.none(), maps(NAMES, least) | st.none()
    )


CONFIGS = configs()


def config(spec: Document | None, **metadata: Any) -> Document:
    """What a manager applies; None is left unsaid."""
    said = {name: value for name, value in metadata.items() if value is not None}
    document = machine(**said)
    del document["spec"]
    return document if spec is None else {**document, "spec": spec}


def apply(live: Document, wanted: Document, name: str = "m1", *, now: str = NOW, force: bool = True) -> Document:
    writer = Writer(name, str(KUBEVIRT), now)
    document, owners = applied(MACHINE, live, orjson.loads(orjson.dumps(wanted)), writer, force=force)
    return with_entries(document, owners)


def update(old: Document, new: Document, name: str = "upd", *, now: str = NOW, asked: Any = None) -> Document:
    return with_entries(new, updated(MACHINE, old, new, asked, Writer(name, str(KUBEVIRT), now)))


def owned_by(document: Document, name: str) -> FieldSet:
    fields: FieldSet = {}
    for manager, owned in decoded(document["metadata"].get("managedFields")).items():
        if manager.name == name:
            fields = union(fields, owned.fields)
    return fields


def fields_of(document: Document) -> FieldSet:
    """What an applier of all of it would own."""
    return difference(TYPE.owned(ownable(document)) or {}, {"f:metadata": {}})


NOTHING = config(None)


@given(CONFIGS, CONFIGS)
def test_applying_again_changes_nothing(first: Document, second: Document) -> None:
    live = apply(apply({}, first, "m1"), second, "m2")

    assert apply(live, second, "m2", now=LATER) == live


@given(CONFIGS, CONFIGS)
def test_leaving_everything_out_removes_what_was_owned_alone(theirs: Document, ours: Document) -> None:
    both = apply(apply({}, theirs, "m1"), ours, "m2")

    left = apply(both, NOTHING, "m2")

    assert fields_of(left) == owned_by(both, "m1")
    assert owned_by(left, "m1") == owned_by(both, "m1")
    assert owned_by(left, "m2") == {}


@given(CONFIGS, configs(least=1), CONFIGS)
def test_what_nobody_owns_is_kept(ours: Document, written: Document, next_: Document) -> None:
    live = TYPE.merged(apply({}, ours), written)

    after = apply(live, next_)

    unowned = without(fields_of(live), union(owned_by(live, "m1"), fields_of(next_)))
    assert difference(unowned, fields_of(after)) == {}


@given(CONFIGS, CONFIGS)
def test_who_applies_last_has_it_as_said(first: Document, second: Document) -> None:
    after = apply(apply({}, first, "m1"), second, "m2")

    assert owned_by(after, "m2") == fields_of(second)
    assert TYPE.merged(after, second) == after


@given(CONFIGS, CONFIGS)
def test_without_force_nobody_loses_a_field(first: Document, second: Document) -> None:
    live = apply({}, first, "m1")

    try:
        after = apply(live, second, "m2", force=False)
    except ApiError as refused:
        assert refused.code == 409
    else:
        assert owned_by(after, "m1") == owned_by(live, "m1")


@given(CONFIGS, CONFIGS)
def test_an_update_owns_what_it_changes(first: Document, second: Document) -> None:
    live = apply({}, first)

    after = update(live, second)

    assert difference(owned_by(after, "m1"), owned_by(live, "m1")) == {}
    for path in (owned_by(after, "m1"), owned_by(after, "upd")):
        assert difference(path, union(TYPE.every(ownable(second)), {})) == {}


@pytest.mark.parametrize(
    ("live", "new", "order"),
    [
        (["a", "b"], ["b", "a"], ["b", "a"]),
        (["a", "b", "c"], ["c", "a"], ["b", "c", "a"]),
        (["a", "c"], ["b"], ["a", "c", "b"]),
        (["a", "b", "c"], ["a", "x", "c"], ["a", "b", "x", "c"]),
        ([], ["a"], ["a"]),
        (["a"], [], ["a"]),
    ],
)
def test_lists_are_merged_in_the_applied_order(live: list[str], new: list[str], order: list[str]) -> None:
    before, after = ([{"name": name} for name in names] for names in (live, new))

    merged = TYPE.merged({"spec": {"disks": before}}, {"spec": {"disks": after}})

    assert [disk["name"] for disk in merged["spec"]["disks"]] == order


def test_several_conflicts_are_told_by_manager_and_field() -> None:
    live = apply({}, config({"nodeName": "n1", "replicas": 1}), "a")
    live = apply(live, config({"nodeName": "n1"}), "c")

    with pytest.raises(ApiError) as refused:
        apply(live, config({"nodeName": "n2", "replicas": 2}), "m2", force=False)

    assert refused.value.message == (
        'Apply failed with 3 conflicts: conflicts with "a":\n- .spec.nodeName\n- .spec.replicas\n'
        'conflicts with "c":\n- .spec.nodeName'
    )
    assert [cause["field"] for cause in (refused.value.details or {})["causes"]] == [
        ".spec.nodeName",
        ".spec.replicas",
        ".spec.nodeName",
    ]


def test_a_conflict_names_the_subresource() -> None:
    writer = Writer("controller", str(KUBEVIRT), NOW, "status")
    document, owners = applied(MACHINE, stored(), {**NOTHING, "status": {"phase": "A"}}, writer, force=False)
    live = with_entries(document, owners)

    with pytest.raises(ApiError) as refused:
        applied(
            MACHINE,
            live,
            {**NOTHING, "status": {"phase": "B"}},
            Writer("m2", str(KUBEVIRT), NOW, "status"),
            force=False,
        )

    assert 'conflict with "controller" with subresource "status": .status.phase' in refused.value.message


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"unk": 1}, ".spec.unk: field not declared in schema"),
        ({"nodeName": True}, ".spec.nodeName: expected string, got &value.valueUnstructured{Value:true}"),
        ({"replicas": "x"}, ".spec.replicas: expected numeric (int or float), got string"),
        ({"running": "x"}, ".spec.running: expected boolean, got &{x}"),
        ({"disks": {"a": 1}}, ".spec.disks: expected list, got &{map[a:1]}"),
        ({"nodeSelector": [1, "a"]}, ".spec.nodeSelector: expected map, got &{[1 a]}"),
        ({"disks": [{"name": "x"}, {"name": "x"}]}, '.spec.disks: duplicate entries for key [name="x"]'),
        (
            {"disks": [{"size": "1"}]},
            ".spec.disks: element 0: associative list with keys has an element that omits all key fields "
            '["name"] (and doesn\'t have default values for any key fields)',
        ),
        ({"unk": 1, "nodeName": 1}, "errors:\n  .spec.unk: field not declared in schema\n  .spec.nodeName: expected "),
    ],
)
def test_what_is_not_of_the_schema_is_refused(spec: Document, why: str) -> None:
    with pytest.raises(ApiError) as refused:
        apply({}, config(spec))

    assert (refused.value.code, refused.value.reason) == (500, "")
    start = "failed to create typed patch object (/u; kubevirt.io/v1alpha1, Kind=VirtualMachine): "
    assert refused.value.message.startswith(start + why)


def test_sets_are_merged_item_by_item() -> None:
    one, two = ({"metadata": {"finalizers": names}} for names in (["a/1", "a/2"], ["a/2", "a/3"]))
    live = apply(apply({}, {**NOTHING, **one}, "m1"), {**NOTHING, **two}, "m2")

    after = apply(live, NOTHING, "m1")

    assert live["metadata"]["finalizers"] == ["a/1", "a/2", "a/3"]
    assert after["metadata"]["finalizers"] == ["a/2", "a/3"]


def test_the_kinds_own_finalizers_stay_when_they_are_left_out() -> None:
    said = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "finalizers": ["a/1", *HOST.finalizers]}}
    writer = Writer("m1", "v1", NOW)
    live = with_entries(*applied(HOST, {}, said, writer, force=False))

    after, _ = applied(HOST, live, {**said, "metadata": {"name": "n"}}, writer, force=False)

    assert after["metadata"]["finalizers"] == [*HOST.finalizers]


def test_atomic_lists_are_one_value() -> None:
    taint = {"key": "a", "effect": "b"}
    document = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": [taint]}}

    _, owners = applied(HOST, {}, document, Writer("m1", "v1", NOW), force=False)

    assert owners[0]["fieldsV1"] == {"f:spec": {"f:taints": {}}}


# Updates


def test_a_creator_owns_all_but_what_the_server_says() -> None:
    document = stored(spec={"disks": [{"name": "d"}]}, labels={"a": "b"})

    entries = created(MACHINE, document, Writer("", str(KUBEVIRT), NOW))

    assert entries == [
        {
            "apiVersion": "kubevirt.io/v1alpha1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {
                    ".": {},
                    "f:disks": {".": {}, 'k:{"name":"d"}': {".": {}, "f:name": {}}},
                    "f:graceSeconds": {},
                },
            },
            "manager": "unknown",
            "operation": "Update",
            "time": NOW,
        }
    ]


def test_finalizers_of_the_kind_are_nobodys() -> None:
    document = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "finalizers": [*HOST.finalizers]}}

    assert created(HOST, document, Writer("kubectl", "v1", NOW)) == []


def test_nobody_becomes_an_owner_of_what_was_never_tracked() -> None:
    old = stored()

    assert "managedFields" not in update(old, stored(spec={"nodeName": "a"}))["metadata"]


def test_the_oldest_updaters_become_one() -> None:
    live = apply({}, config({}))
    for number in range(12):
        labels = {**live["metadata"].get("labels", {}), f"l{number}": "x"}
        new = {**live, "metadata": {**live["metadata"], "labels": labels}}
        live = update(live, new, f"upd{number}", now=f"2026-11-22T22:00:{number:02}Z")

    entries = live["metadata"]["managedFields"]
    updaters = [entry["manager"] for entry in entries if entry["operation"] == Operation.UPDATE]
    assert updaters == ["ancient-changes", *(f"upd{number}" for number in range(3, 12))]
    assert set(owned_by(live, "ancient-changes")["f:metadata"]["f:labels"]) == {".", "f:l0", "f:l1", "f:l2"}


@pytest.mark.parametrize(
    "asked",
    [
        None,
        [],
        [{"manager": "a", "operation": "Bad", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}],
        [{"manager": "a", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {}}],
        [{"manager": "a", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV2", "fieldsV1": {}}],
        [{"manager": "a", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"x": {}}}],
    ],
)
def test_nonsense_about_owners_is_ignored(asked: Any) -> None:
    live = apply({}, config({"nodeName": "a"}))

    assert update(live, live, asked=asked) == live


def test_owners_may_be_replaced_and_cleared() -> None:
    live = apply({}, config({"nodeName": "a"}), "m1")
    entry = {**live["metadata"]["managedFields"][0], "manager": "m9"}

    assert owned_by(update(live, live, asked=[entry]), "m9") == {"f:spec": {"f:nodeName": {}}}
    assert "managedFields" not in update(live, live, asked=[{}])["metadata"]


# kubectl's annotation


def annotated(spec: Document) -> Document:
    """As client-side apply leaves it behind."""
    said = config(spec)
    document = {**said, "metadata": {**said["metadata"], "annotations": {LAST_APPLIED: orjson.dumps(said).decode()}}}
    return with_entries(document, created(MACHINE, document, Writer("kubectl-client-side-apply", str(KUBEVIRT), NOW)))


def test_kubectl_takes_over_what_it_applied_before() -> None:
    live = annotated({"nodeName": "a"})

    after = apply(live, config({"nodeName": "b"}), "kubectl", force=False)

    assert after["spec"]["nodeName"] == "b"
    assert orjson.loads(after["metadata"]["annotations"][LAST_APPLIED])["spec"] == {"nodeName": "b"}
    with pytest.raises(ApiError, match="Apply failed with 1 conflict"):
        apply(live, config({"nodeName": "b"}), "somebody", force=False)


def test_kubectl_does_not_take_over_what_was_changed_since() -> None:
    live = annotated({"nodeName": "a"})
    live = update(live, {**live, "spec": {"nodeName": "x"}}, asked=live["metadata"]["managedFields"])

    with pytest.raises(ApiError, match=r'conflict with "upd" using kubevirt\.io/v1alpha1: \.spec\.nodeName'):
        apply(live, config({"nodeName": "b"}), "kubectl", force=False)
