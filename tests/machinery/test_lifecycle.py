"""What create, update and delete do to an object, and the words with which they refuse."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.kinds import NAMESPACE
from app.machinery.errors import ApiError, FieldError, forbidden, invalid_object
from app.machinery.kind import CORE, KUBEVIRT, Kind
from app.machinery.lifecycle import (
    is_finished_deleting,
    prepare_create,
    prepare_delete,
    prepare_update,
    served_as,
    validate_create,
    validate_update,
)
from app.machinery.metadata import metadata_warnings, without_repeated_owners
from app.machinery.objects import Document
from app.machinery.patch import merge_patch
from tests.machinery.examples import HAPPENING, HOST, MACHINE, NOW, UID, machine, stored

AnyKind = Kind[Any, Any]


def created(document: Document, kind: AnyKind = MACHINE, namespace: str = "default") -> Document:
    return prepare_create(kind, kind.group_version, document, namespace=namespace, now=NOW, uid=UID, suffix="bcdfg")


def updated(new: Document, old: Document | None = None, **options: Any) -> Document:
    return prepare_update(MACHINE, KUBEVIRT, old or stored(), new, now=NOW, **options)


def refusal(act: Callable[[], object]) -> ApiError:
    with pytest.raises(ApiError) as refused:
        act()
    return refused.value


# Create


def test_a_new_object_is_stamped() -> None:
    document = created(machine("u", spec={"nodeName": "n"}))

    assert document["metadata"] == {
        "name": "u",
        "namespace": "default",
        "uid": UID,
        "creationTimestamp": NOW,
        "generation": 1,
        "selfLink": "/apis/kubevirt.io/v1alpha1/namespaces/default/virtualmachines/u",
    }
    assert document["spec"] == {"nodeName": "n", "disks": [], "graceSeconds": 30}


def test_what_only_the_server_says_is_wiped_and_the_rest_is_kept() -> None:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"}
    kept: Document = {
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "finalizers": ["x/y"],
        "ownerReferences": [owner],
    }
    wiped: Document = {
        "uid": "mine",
        "creationTimestamp": "1999-01-01T00:00:00Z",
        "deletionTimestamp": NOW,
        "deletionGracePeriodSeconds": 3,
        "generation": 9,
        "selfLink": "/elsewhere",
        "managedFields": [{"manager": "m"}],
    }
    document = {**machine("u", **kept, **wiped), "status": {"phase": "Running"}}

    metadata = created(document)["metadata"]

    assert kept == {name: metadata[name] for name in kept}
    assert (metadata["uid"], metadata["creationTimestamp"], metadata["generation"]) == (UID, NOW, 1)
    assert not {"deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"} & metadata.keys()
    assert "status" not in created(document)


def test_a_generated_name_is_never_longer_than_a_label() -> None:
    document = machine(generateName="m" * 70)
    del document["metadata"]["name"]

    metadata = created(document)["metadata"]

    assert metadata["name"] == "m" * 58 + "bcdfg"
    assert metadata["generateName"] == "m" * 70


def test_a_given_name_wins_over_a_generated_one() -> None:
    assert created(machine("u", generateName="g-"))["metadata"]["name"] == "u"


def test_a_kinds_finalizers_are_added_once() -> None:
    host: Document = {"metadata": {"name": "h", "finalizers": ["a/b", *HOST.finalizers]}}

    assert created(host, HOST, "")["metadata"]["finalizers"] == ["a/b", "drover.example/host"]
    assert list(HOST.finalizers) == created({"metadata": {"name": "h"}}, HOST, "")["metadata"]["finalizers"]


def test_a_core_kind_may_leave_unsaid_what_it_is() -> None:
    document = created({"metadata": {"name": "h"}}, HOST, "")

    assert (
        document["apiVersion"],
        document["kind"],
        document["metadata"]["selfLink"],
    ) == ("v1", "Node", "/api/v1/nodes/h")


def test_an_object_created_under_a_second_group_is_stored_under_the_first() -> None:
    sent = {"apiVersion": "kubevirt.io/v1alpha1", "kind": "Node", "metadata": {"name": "h"}}

    document = prepare_create(HOST, KUBEVIRT, sent, namespace="", now=NOW, uid=UID, suffix="")

    assert document["apiVersion"] == "v1"
    served = served_as(HOST, KUBEVIRT, document)
    assert (
        served["apiVersion"],
        served["metadata"]["selfLink"],
    ) == ("kubevirt.io/v1alpha1", "/apis/kubevirt.io/v1alpha1/nodes/h")


def test_a_kind_with_a_body_keeps_it_and_counts_no_generations() -> None:
    document = created({"metadata": {"name": "e"}, "reason": "Moved", "count": 1}, HAPPENING)

    assert (document["reason"], document["count"]) == ("Moved", 1)
    assert "generation" not in document["metadata"]


def test_the_kinds_own_defaults_come_after_the_schemas() -> None:
    def follow(document: Document) -> None:
        document["spec"]["nodeName"] = f"after-{document['spec']['graceSeconds']}"

    kind = dataclasses.replace(MACHINE, default=follow)

    assert created(machine(), kind)["spec"]["nodeName"] == "after-30"


def test_the_kinds_own_defaults_do_not_see_what_has_wrong_types() -> None:
    def follow(document: Document) -> None:
        document["spec"]["nodeName"] = document["spec"]["nodeName"].lower()

    kind = dataclasses.replace(MACHINE, default=follow)

    assert created(machine(spec={"nodeName": "N"}), kind)["spec"]["nodeName"] == "n"
    assert created(machine(spec={"nodeName": 1}), kind)["spec"]["nodeName"] == 1


REFUSED_CREATES: dict[str, tuple[Document, int, str]] = {
    "another namespace": (
        machine(namespace="other"),
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    ),
    "a version": (machine(resourceVersion="5"), 400, "resourceVersion should not be set on objects to be created"),
    "another group version": (
        {**machine(), "apiVersion": "v1"},
        400,
        "the API version in the data (v1) does not match the expected API version (kubevirt.io/v1alpha1)",
    ),
    "another kind": (
        {**machine(), "kind": "Foo"},
        422,
        'Foo.kubevirt.io "u" is invalid: kind: Invalid value: "Foo": must be VirtualMachine',
    ),
    "no kind": (
        {"apiVersion": "kubevirt.io/v1alpha1"},
        400,
        "the object provided is unrecognized (must be of type VirtualMachine): Object 'Kind' is missing in "
        '\'{"apiVersion":"kubevirt.io/v1alpha1"}\' ({"apiVersion":"kubevirt.io/v1a ...)',
    ),
    "labels that are numbers": (
        machine(labels={"a": 1}),
        400,
        'VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: json: cannot unmarshal number '
        "into Go struct field ObjectMeta.labels of type string",
    ),
    "metadata that is a text": (
        {**machine(), "metadata": "u"},
        400,
        'VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: json: cannot unmarshal string '
        "into Go value of type v1.ObjectMeta",
    ),
    "a kind that is a number": (
        {**machine(), "kind": 1},
        400,
        "the object provided is unrecognized (must be of type VirtualMachine): couldn't get version/kind; json parse "
        "error: json: cannot unmarshal number into Go struct field .kind of type string "
        '({"apiVersion":"kubevirt.io/v1a ...)',
    ),
}


@pytest.mark.parametrize("case", REFUSED_CREATES.values(), ids=REFUSED_CREATES.keys())
def test_a_create_is_refused_with_kube_apiservers_words(case: tuple[Document, int, str]) -> None:
    document, code, text = case

    refused = refusal(lambda: created(document))

    assert (code, text) == (refused.code, refused.message)


# Validation

INVALID_METADATA: dict[str, tuple[Document, str]] = {
    "no name": ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
    "a capital": ({"name": "Up"}, 'metadata.name: Invalid value: "Up": a lowercase RFC 1123 subdomain must'),
    "a long name": ({"name": "a" * 254}, "must be no more than 253 characters"),
    "a bad prefix": ({"generateName": "Up-"}, 'metadata.generateName: Invalid value: "Up-": a lowercase RFC 1123'),
    "a bad label": ({"labels": {"a b": "c"}}, 'metadata.labels: Invalid value: "a b": name part must consist of'),
    "a long label": ({"labels": {"a": "b" * 64}}, "must be no more than 63 bytes"),
    "a bad value": ({"labels": {"a": "-"}}, 'metadata.labels: Invalid value: "-": a valid label must be an empty'),
    "no prefix": (
        {"annotations": {"/a": "b"}},
        'metadata.annotations: Invalid value: "/a": prefix part must be non-empty',
    ),
    "no name part": ({"labels": {"a.b/": "c"}}, "name part must be non-empty"),
    "two slashes": ({"labels": {"a/b/c": "d"}}, "a valid label key must consist of"),
    "annotations too long": (
        {"annotations": {"a": "b" * 262_144}},
        "metadata.annotations: Too long: may not be more than 262144 bytes",
    ),
    "a bad finalizer": ({"finalizers": ["a b"]}, 'metadata.finalizers: Invalid value: "a b": name part must'),
    "finalizers that exclude each other": (
        {"finalizers": ["orphan", "foregroundDeletion"]},
        "finalizer orphan and foregroundDeletion cannot be both set",
    ),
    "an owner without uid": (
        {"ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": ""}]},
        'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
    ),
    "two controllers": (
        {
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "K", "name": name, "uid": name, "controller": True} for name in "ab"
            ]
        },
        'Only one reference can have Controller set to true. Found "true" in references for K/a and K/b',
    ),
}


@pytest.mark.parametrize("case", INVALID_METADATA.values(), ids=INVALID_METADATA.keys())
def test_bad_metadata_is_named(case: tuple[Document, str]) -> None:
    metadata, text = case

    first, *_ = validate_create(MACHINE, stored(**metadata))

    assert text in str(first)


@pytest.mark.parametrize("name", ["u", "a.b-c", "0", "a" * 253])
def test_good_names_pass(name: str) -> None:
    assert validate_create(MACHINE, stored(name)) == []


def test_a_kind_may_want_labels_for_names() -> None:
    host: Document = {"metadata": {"name": "a.b"}}

    (error,) = validate_create(HOST, host)

    assert error.message == 'Invalid value: "a.b": must not contain dots'


def test_every_error_is_said_at_once() -> None:
    document = stored(spec={"replicas": -1, "policy": "C"}, labels={"a b": "c"})

    errors = validate_create(MACHINE, document)

    assert [error.path for error in errors] == ["metadata.labels", "spec.replicas", "spec.policy"]
    assert invalid_object("VirtualMachine", "kubevirt.io", "u", errors).message.startswith(
        'VirtualMachine.kubevirt.io "u" is invalid: [metadata.labels: Invalid value: "a b": '
    )


def test_a_kinds_own_checks_see_only_well_formed_documents() -> None:
    def check(document: Document) -> Iterator[FieldError]:
        if document["spec"]["nodeName"].startswith("x"):
            yield forbidden("spec.nodeName", "no x here")

    kind = dataclasses.replace(MACHINE, check_create=check)

    assert [e.reason for e in validate_create(kind, stored(spec={"nodeName": "x"}))] == ["FieldValueForbidden"]
    assert [e.reason for e in validate_create(kind, stored(spec={"nodeName": 1}))] == ["FieldValueTypeInvalid"]


# Update


def test_an_unchanged_update_equals_the_stored_object() -> None:
    assert stored() == updated(stored())


def test_what_a_client_leaves_out_of_metadata_is_restored() -> None:
    sent = machine("u", resourceVersion="1021")

    assert stored() == updated(sent)


def test_the_generation_counts_changes_of_the_spec_only() -> None:
    assert updated(stored(spec={"nodeName": "m"}))["metadata"]["generation"] == 3
    assert updated(stored(labels={"a": "b"}))["metadata"]["generation"] == 2


def test_a_main_update_cannot_write_the_status() -> None:
    old = {**stored(), "status": {"phase": "Running"}}
    new = {**stored(spec={"nodeName": "m"}), "status": {"phase": "Lost"}}

    changed = updated(new, old)

    assert changed["status"] == {"phase": "Running"}


def test_a_status_update_writes_nothing_but_the_status() -> None:
    new = {**stored(spec={"nodeName": "m"}, labels={"a": "b"}), "status": {"phase": "Running"}}

    changed = updated(new, subresource="status")

    assert {**stored(), "status": {"phase": "Running"}} == changed


def test_an_update_never_changes_the_stored_document() -> None:
    old = {**stored(), "status": {"phase": None}}
    del old["spec"]["graceSeconds"]
    before = copy.deepcopy(old)

    updated({**stored(), "status": {"phase": "a"}}, old)
    updated({**stored(), "status": {"phase": "a"}}, old, subresource="status")

    assert before == old


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
REFUSED_UPDATES: dict[str, tuple[Document, int, str]] = {
    "another name": (stored("zz"), 400, "the name of the object (zz) does not match the name on the URL (u)"),
    "no name": (
        stored(""),
        400,
        "the name of the object (u based on URL) was undeterminable: name must be provided",
    ),
    "another namespace": (
        stored(namespace="other"),
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    ),
    "no version": (
        stored(resourceVersion=""),
        422,
        'virtualmachines.kubevirt.io "u" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified '
        "for an update",
    ),
    "an old version": (
        stored(resourceVersion="1"),
        409,
        f'Operation cannot be fulfilled on virtualmachines.kubevirt.io "u": {MODIFIED}',
    ),
    "another uid": (
        stored(uid="zz"),
        409,
        'Operation cannot be fulfilled on virtualmachines.kubevirt.io "u": StorageError: invalid object, Code: 4, '
        "Key: /registry/kubevirt.io/virtualmachines/default/u, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: "
        f"UID in precondition: zz, UID in object meta: {UID}",
    ),
}


@pytest.mark.parametrize("case", REFUSED_UPDATES.values(), ids=REFUSED_UPDATES.keys())
def test_an_update_is_refused_with_kube_apiservers_words(case: tuple[Document, int, str]) -> None:
    document, code, text = case

    refused = refusal(lambda: updated(document))

    assert (code, text) == (refused.code, refused.message)


def test_a_core_kind_is_updated_without_a_version() -> None:
    old = created({"metadata": {"name": "h"}}, HOST, "")
    old["metadata"]["resourceVersion"] = "7"

    new = prepare_update(HOST, CORE, old, {"metadata": {"name": "h"}, "spec": {"unschedulable": True}})

    assert (new["metadata"]["resourceVersion"], new["metadata"]["generation"]) == ("7", 2)


IMMUTABLE: dict[str, Document] = {
    "uid": {"uid": "zz"},
    "deletionTimestamp": {"deletionTimestamp": NOW},
    "deletionGracePeriodSeconds": {"deletionGracePeriodSeconds": 3},
}


@pytest.mark.parametrize("name", IMMUTABLE)
def test_a_patch_of_what_only_the_server_says_is_invalid(name: str) -> None:
    new = updated(merge_patch(stored(), {"metadata": IMMUTABLE[name]}), patched=True)

    error, again = validate_update(MACHINE, stored(), new)

    assert error == again
    assert (f"metadata.{name}", "field is immutable") == (error.path, error.message.rsplit(": ", 1)[-1])


def test_creation_time_and_generation_are_restored_silently() -> None:
    patch = {"metadata": {"creationTimestamp": None, "generation": 99, "selfLink": "/x", "finalizers": None}}

    assert stored() == updated(merge_patch(stored(), patch), patched=True)


def test_no_finalizer_may_be_added_while_deleting() -> None:
    old = stored(deletionTimestamp=NOW, finalizers=["a/b"])

    errors = validate_update(MACHINE, old, stored(deletionTimestamp=NOW, finalizers=["a/b", "c/d"]))

    assert {str(error) for error in errors} == {
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"c/d"}'
    }


# Delete


def updated_host(finalizers: list[str] | None, *, patched: bool = False) -> list[str]:
    """What is left when a host with its kind's finalizer and a user's is replaced by one with those."""
    old = created({"metadata": {"name": "h", "finalizers": ["a/b"]}}, HOST, "")
    new: Document = {"metadata": {"name": "h"} if finalizers is None else {"name": "h", "finalizers": finalizers}}
    written = prepare_update(HOST, HOST.group_version, old, new, patched=patched)
    return list(written["metadata"].get("finalizers", []))


def test_a_file_without_finalizers_does_not_take_the_kinds_own_off() -> None:
    assert updated_host(None) == ["drover.example/host"]


def test_finalizers_are_taken_off_by_saying_so() -> None:
    assert updated_host([]) == []
    assert updated_host(["a/b"]) == ["a/b"]
    assert updated_host(None, patched=True) == []


def test_without_finalizers_an_object_goes_at_once() -> None:
    assert prepare_delete(MACHINE, stored(), None, now=NOW) is None


def test_with_finalizers_it_is_marked_and_waits() -> None:
    marked = prepare_delete(MACHINE, stored(finalizers=["a/b"]), {}, now=NOW)

    assert stored(finalizers=["a/b"], deletionTimestamp=NOW, deletionGracePeriodSeconds=0, generation=3) == marked


def test_deleting_again_changes_nothing() -> None:
    marked = stored(finalizers=["a/b"], deletionTimestamp="2020-01-01T00:00:00Z")

    assert marked == prepare_delete(MACHINE, marked, {}, now=NOW)


def test_it_is_finished_when_the_last_finalizer_is_gone() -> None:
    assert not is_finished_deleting(stored())
    assert not is_finished_deleting(stored(deletionTimestamp=NOW, finalizers=["a/b"]))
    assert is_finished_deleting(stored(deletionTimestamp=NOW))


PRECONDITIONS = {
    "uid": (
        {"uid": "A"},
        f"the UID in the precondition (A) does not match the UID in record ({UID}). The object might have been "
        "deleted and then recreated",
    ),
    "version": (
        {"resourceVersion": "1"},
        "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (1021). "
        "The object might have been modified",
    ),
}


@pytest.mark.parametrize("case", PRECONDITIONS.values(), ids=PRECONDITIONS.keys())
def test_a_precondition_that_does_not_hold_is_a_conflict(case: tuple[Document, str]) -> None:
    preconditions, text = case

    refused = refusal(lambda: prepare_delete(MACHINE, stored(), {"preconditions": preconditions}, now=NOW))

    assert (409, f'Operation cannot be fulfilled on VirtualMachine.kubevirt.io "u": {text}') == (
        refused.code,
        refused.message,
    )
    assert refused.details == {"name": "u", "group": "kubevirt.io", "kind": "VirtualMachine"}


def test_preconditions_that_hold_are_no_hindrance() -> None:
    options = {"preconditions": {"uid": UID, "resourceVersion": "1021"}}

    assert prepare_delete(MACHINE, stored(), options, now=NOW) is None


POLICIES: list[tuple[list[str], Document, list[str]]] = [
    (["a/b"], {}, ["a/b"]),
    (["orphan"], {}, ["orphan"]),
    (["foregroundDeletion"], {}, ["foregroundDeletion"]),
    ([], {"propagationPolicy": "Foreground"}, ["foregroundDeletion"]),
    ([], {"propagationPolicy": "Orphan"}, ["orphan"]),
    ([], {"orphanDependents": True}, ["orphan"]),
    (["orphan"], {"orphanDependents": False}, []),
    (["foregroundDeletion", "a/b"], {"propagationPolicy": "Background"}, ["a/b"]),
    (["orphan", "a/b"], {"propagationPolicy": "Foreground"}, ["a/b", "foregroundDeletion"]),
]


@pytest.mark.parametrize(("before", "options", "after"), POLICIES)
def test_propagation_is_a_finalizer(before: list[str], options: Document, after: list[str]) -> None:
    marked = prepare_delete(MACHINE, stored(finalizers=before), options, now=NOW)

    assert after == (marked["metadata"]["finalizers"] if marked else [])


def test_a_later_deletion_may_say_another_policy() -> None:
    marked = stored(deletionTimestamp="2020-01-01T00:00:00Z", generation=3, finalizers=["foregroundDeletion", "a/b"])

    again = prepare_delete(MACHINE, marked, {"propagationPolicy": "Orphan"}, now=NOW)

    assert again == {**marked, "metadata": {**marked["metadata"], "finalizers": ["a/b", "orphan"]}}


def test_what_holds_others_terminates() -> None:
    room: Document = {
        "metadata": {"name": "room", "uid": "1"},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
    marked: Document = {
        **room,
        "metadata": {**room["metadata"], "deletionTimestamp": NOW},
        "status": {"phase": "Terminating"},
    }

    assert prepare_delete(NAMESPACE, room, {}, now=NOW) == marked
    assert prepare_delete(NAMESPACE, marked, {}, now="later") == marked
    assert not is_finished_deleting(marked)
    assert is_finished_deleting({**marked, "spec": {"finalizers": []}})
    assert prepare_delete(NAMESPACE, {**room, "spec": {}}, {}, now=NOW) is None


def test_one_that_was_stored_without_content_finalizers_is_emptied_too() -> None:
    marked = prepare_delete(NAMESPACE, {"metadata": {"name": "room"}, "status": {"phase": "Active"}}, {}, now=NOW)

    assert marked is not None
    assert marked["spec"] == {"finalizers": ["kubernetes"]}


# Warnings


def test_an_unqualified_finalizer_is_warned_of_when_it_is_new() -> None:
    new = stored(finalizers=["bad", "a/b", "orphan"])

    assert [warning.split(":")[1] for warning in metadata_warnings(MACHINE, None, new)] == [' "bad"']
    assert list(metadata_warnings(MACHINE, new, new)) == []


def test_an_owner_named_twice_is_taken_off_and_warned_of() -> None:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"}
    document = stored(ownerReferences=[owner, {**owner, "uid": "2"}, dict(owner)])

    (warning,) = without_repeated_owners(document)

    assert warning.endswith("please fix your requests; duplicate UID(s) observed: 1")
    assert document["metadata"]["ownerReferences"] == [owner, {**owner, "uid": "2"}]
    assert without_repeated_owners(document) == []
