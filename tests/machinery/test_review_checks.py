"""Questions about rights that kube-apiserver 1.36 refuses, with what it says: recorded from one."""

from __future__ import annotations

from typing import Any

import pytest

from app.machinery.review_checks import problems
from app.machinery.reviews import (
    LOCAL_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    Review,
)

SELF, ANY, LOCAL = SELF_SUBJECT_ACCESS_REVIEW, SUBJECT_ACCESS_REVIEW, LOCAL_SUBJECT_ACCESS_REVIEW
PODS = {"verb": "list", "resource": "pods"}
THERE = PODS | {"namespace": "team"}
ROOT = {"path": "/", "verb": "get"}
FIELDS, LABELS = "spec.resourceAttributes.fieldSelector", "spec.resourceAttributes.labelSelector"
NOBODY = 'spec.user: Invalid value: "": at least one of user or group must be specified'
NOTHING = (
    "spec.resourceAttributes: Invalid value: null: "
    "exactly one of nonResourceAttributes or resourceAttributes must be specified"
)
BOTH = (
    'spec.nonResourceAttributes: Invalid value: {"Path":"/","Verb":"get"}: '
    "cannot be specified in combination with resourceAttributes"
)
MISSING = f"{FIELDS}.requirements: Required value: when {FIELDS} is specified, requirements or rawSelector is required"
NAME = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
    "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def fields(**selector: Any) -> dict[str, Any]:
    return {"resourceAttributes": PODS | {"fieldSelector": selector}}


def labels(**selector: Any) -> dict[str, Any]:
    return {"resourceAttributes": PODS | {"labelSelector": selector}}


ONE = {"key": "a", "operator": "In", "values": ["b"]}
ROWS: list[tuple[Review, dict[str, Any], list[str]]] = [
    (SELF, {}, [NOTHING]),
    (SELF, {"resourceAttributes": PODS, "nonResourceAttributes": ROOT}, [BOTH]),
    (ANY, {}, [NOTHING, NOBODY]),
    (ANY, {"resourceAttributes": PODS, "nonResourceAttributes": ROOT}, [BOTH, NOBODY]),
    (ANY, {"groups": ["g"], "resourceAttributes": {}}, []),
    (
        SELF,
        fields(),
        [f"{FIELDS}.requirements: Required value: when {FIELDS} is specified, requirements or rawSelector is required"],
    ),
    (
        SELF,
        fields(rawSelector="a=b", requirements=[ONE]),
        [f'{FIELDS}.rawSelector: Invalid value: "a=b": may not specified at the same time as requirements'],
    ),
    (
        SELF,
        fields(
            requirements=[
                {"key": "", "operator": "In"},
                {"key": "a", "operator": "Exists", "values": ["b"]},
                {"key": "a", "operator": "Foo", "values": ["b"]},
            ]
        ),
        [
            f"{FIELDS}.requirements[0].key: Required value: must be specified",
            f"{FIELDS}.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            f"{FIELDS}.requirements[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ],
    ),
    (
        SELF,
        labels(
            requirements=[
                {"key": "", "operator": "In"},
                {"key": "a b", "operator": "Exists", "values": ["b"]},
                {"key": "a", "operator": "Foo", "values": ["b c"]},
            ]
        ),
        [
            f"{LABELS}.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            f'{LABELS}.requirements[0].key: Invalid value: "": name part must be non-empty',
            f'{LABELS}.requirements[0].key: Invalid value: "": {NAME}',
            f"{LABELS}.requirements[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            f'{LABELS}.requirements[1].key: Invalid value: "a b": {NAME}',
            f'{LABELS}.requirements[2].values[0]: Invalid value: "b c": {VALUE}',
        ],
    ),
    (SELF, fields(rawSelector="x=y") | {}, []),
    (LOCAL, {"user": "u", "resourceAttributes": THERE}, []),
    (LOCAL, {"resourceAttributes": THERE}, [NOBODY]),
    (
        LOCAL,
        {"user": "u", "resourceAttributes": THERE | {"namespace": "x"}},
        ['spec.resourceAttributes.namespace: Invalid value: "x": must match metadata.namespace'],
    ),
    (
        LOCAL,
        {"user": "u", "nonResourceAttributes": ROOT},
        ['spec.nonResourceAttributes: Invalid value: {"Path":"/","Verb":"get"}: disallowed on this kind of request'],
    ),
]


@pytest.mark.parametrize(("review", "spec", "said"), ROWS)
def test_a_question_is_refused_as_kube_apiserver_does(review: Review, spec: dict[str, Any], said: list[str]) -> None:
    assert [str(problem) for problem in problems(review, {}, spec, "team")] == said


@pytest.mark.parametrize(
    ("review", "metadata", "said"),
    [
        (SELF, {"name": "x"}, 'metadata: Invalid value: {"name":"x"}: must be empty'),
        (ANY, {"namespace": "x"}, 'metadata: Invalid value: {"namespace":"x"}: must be empty'),
        (LOCAL, {"name": "x"}, 'metadata: Invalid value: {"name":"x"}: must be empty except for namespace'),
        (LOCAL, {"namespace": "team"}, ""),
        (SELF, {"managedFields": []}, ""),
    ],
)
def test_a_question_has_no_name(review: Review, metadata: dict[str, Any], said: str) -> None:
    spec = {"user": "u", "resourceAttributes": THERE}

    assert ", ".join(str(problem) for problem in problems(review, metadata, spec, "team")) == said
