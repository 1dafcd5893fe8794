"""Schemas: right shapes pass, wrong ones are named in kube-apiserver's words."""

from __future__ import annotations

from typing import Any

import pytest

from app.machinery.objects import Document
from app.machinery.schema import schema_of
from app.machinery.structural import structural
from tests.machinery.examples import HAPPENING, HOST, MACHINE, MachineSpec, machine

SCHEMA = schema_of(MACHINE)

WRONG: dict[str, tuple[Document, str]] = {
    "a text for a number": (
        {"replicas": "three"},
        'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"',
    ),
    "true is no number": (
        {"replicas": True},
        'spec.replicas: Invalid value: "boolean": spec.replicas in body must be of type integer: "boolean"',
    ),
    "one is not true": (
        {"running": 1},
        'spec.running: Invalid value: "integer": spec.running in body must be of type boolean: "integer"',
    ),
    "below the minimum": (
        {"replicas": -1},
        "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0",
    ),
    "outside the enum": ({"policy": "C"}, 'spec.policy: Unsupported value: "C": supported values: "A", "B"'),
    "against the pattern": (
        {"code": "AB"},
        "spec.code: Invalid value: \"AB\": spec.code in body should match '^[a-z]+$'",
    ),
    "too short": ({"code": "a"}, 'spec.code: Invalid value: "a": spec.code in body should be at least 2 chars long'),
    "too long": ({"code": "abcde"}, "spec.code: Too long: may not be more than 4 bytes"),
    "missing in a list": ({"disks": [{"name": "a"}, {}]}, "spec.disks[1].name: Required value"),
    "twice in a list map": (
        {"disks": [{"name": "a"}, {"name": "a"}]},
        'spec.disks[1]: Duplicate value: {"name":"a"}',
    ),
    "a list for a map": (
        {"nodeSelector": ["a"]},
        'spec.nodeSelector: Invalid value: "array": spec.nodeSelector in body must be of type object: "array"',
    ),
    "a number in a map of texts": (
        {"nodeSelector": {"a": 1}},
        'spec.nodeSelector.a: Invalid value: "integer": spec.nodeSelector.a in body must be of type string: "integer"',
    ),
    "null in a map": (
        {"nodeSelector": {"a": None}},
        'spec.nodeSelector.a: Invalid value: "null": spec.nodeSelector.a in body must be of type string: "null"',
    ),
    "a list for int-or-string": (
        {"port": []},
        'spec.port: Invalid value: "array": spec.port in body must be of type integer,string: "array"',
    ),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_as_kube_apiserver_says_it(case: tuple[Document, str]) -> None:
    spec, text = case

    errors = SCHEMA.check(machine(spec=spec))

    assert [text] == [str(error) for error in errors]


RIGHT: dict[str, Document] = {
    "nothing optional": {},
    "an integral float": {"replicas": 1.0},
    "an integer where a number may be": {"ratio": 1},
    "a text as int-or-string": {"port": "http"},
    "a number as int-or-string": {"port": 80},
    "anything in a free-form map": {"extra": {"a": [1, {"b": None}]}},
    "an enum's value": {"policy": "A"},
}


@pytest.mark.parametrize("spec", RIGHT.values(), ids=RIGHT.keys())
def test_what_is_right_passes(spec: Document) -> None:
    document = machine(spec=spec)

    assert (SCHEMA.check(document), SCHEMA.prune(document)) == ([], [])


def test_unknown_fields_are_removed_and_named() -> None:
    document = machine(spec={"bogus": 1, "disks": [{"name": "a", "speed": 2}], "extra": {"free": 1}}, bogusmeta=1)
    document["top"] = 1

    unknown = SCHEMA.prune(document)

    assert {"top", "metadata.bogusmeta", "spec.bogus", "spec.disks[0].speed"} == set(unknown)
    assert machine(spec={"disks": [{"name": "a"}], "extra": {"free": 1}}) == document


@pytest.mark.parametrize(
    ("spec", "left", "unknown"),
    [
        ({"nodeName": {"x": {"y": 1}}}, {"nodeName": {}}, ["spec.nodeName.x"]),
        ({"nodeName": [[{"x": 1}]]}, {"nodeName": [[{}]]}, ["spec.nodeName[0][0].x"]),
        ({"disks": {"name": "a"}}, {"disks": {}}, ["spec.disks.name"]),
        ({"port": {"x": 1}, "bogus": 1}, {"port": {}}, ["spec.port.x", "spec.bogus"]),
        ({"extra": [{"x": 1}]}, {"extra": [{"x": 1}]}, []),
        ([{"nodeName": "a"}], [{}], ["spec[0].nodeName"]),
    ],
)
def test_what_is_of_a_wrong_type_has_no_fields(spec: Any, left: Any, unknown: list[str]) -> None:
    document = {**machine(), "spec": spec}

    assert SCHEMA.prune(document) == unknown
    assert document["spec"] == left


@pytest.mark.parametrize("applied", [False, True])
def test_a_number_without_a_fraction_is_written_without_one(applied: bool) -> None:
    document = machine(spec={"replicas": 3.0, "graceSeconds": -0.0, "ratio": 1.5, "extra": {"a": 2.0}})

    SCHEMA.default(document, applied=applied)

    assert repr(document["spec"]) == repr(
        {"disks": [], "replicas": 3, "graceSeconds": 0, "ratio": 1.5, "extra": {"a": 2.0}}
    )


def test_a_self_link_is_known() -> None:
    assert SCHEMA.prune(machine(selfLink="/x", managedFields=[{"manager": "m"}])) == []


def test_null_means_unset_and_defaults_come_after_it() -> None:
    document = machine(spec={"nodeName": None, "graceSeconds": None})

    SCHEMA.default(document)

    assert machine(spec={"graceSeconds": 30}) == document


def test_a_falsy_default_is_no_default() -> None:
    document = machine()

    SCHEMA.default(document)

    assert "running" not in document["spec"]


def test_defaults_are_not_shared_between_objects() -> None:
    one, other = machine(), machine()
    SCHEMA.default(one)
    SCHEMA.default(other)

    assert one["spec"] is not other["spec"]
    assert one == other


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_what_is_no_object_is_refused(document: Any) -> None:
    (error,) = SCHEMA.check(document)

    assert (error.path, error.reason) == ("<nil>", "FieldValueTypeInvalid")


def test_a_kind_with_a_body_has_its_fields_at_the_top() -> None:
    schema = schema_of(HAPPENING)

    document = {"metadata": {"name": "e"}, "reason": 1, "spec": {}}

    assert [error.path for error in schema.check(document)] == ["reason"]
    assert schema.prune(document) == ["spec"]


def test_descriptions_come_from_docstrings() -> None:
    spec = structural(MachineSpec)

    assert (
        spec["description"],
        spec["properties"]["nodeName"]["description"],
    ) == ("What is wanted.", "Where it runs.")


def test_a_path_leads_through_lists_to_its_schema() -> None:
    assert SCHEMA.at("spec.disks.name") == {"type": "string"}
    assert SCHEMA.at("spec.nodeSelector.anything") == {"type": "string"}
    assert SCHEMA.at("spec.nowhere") is None
    assert (schema_of(HOST).at("spec.unschedulable") or {})["type"] == "boolean"
