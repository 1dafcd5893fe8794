"""Tables: what `kubectl get` prints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.machinery.errors import ApiError
from app.machinery.table import age, human_duration, partial, partial_list, table
from tests.machinery.examples import MACHINE, NOW, stored

LATER = datetime.fromisoformat(NOW) + timedelta(seconds=5)

DURATIONS = {
    -2: "<invalid>",
    -1: "0s",
    0: "0s",
    5: "5s",
    119: "119s",
    120: "2m",
    192: "3m12s",
    599: "9m59s",
    600: "10m",
    659: "10m",
    3 * 3600 - 1: "179m",
    3 * 3600: "3h",
    3 * 3600 + 60: "3h1m",
    8 * 3600: "8h",
    47 * 3600: "47h",
    48 * 3600: "2d",
    51 * 3600: "2d3h",
    8 * 86_400: "8d",
    729 * 86_400: "729d",
    730 * 86_400: "2y",
    731 * 86_400: "2y1d",
    8 * 365 * 86_400: "8y",
    20 * 365 * 86_400: "20y",
}


@pytest.mark.parametrize("seconds", DURATIONS)
def test_durations_read_as_in_kubectl(seconds: int) -> None:
    assert DURATIONS[seconds] == human_duration(seconds)


def test_an_age_is_null_where_there_is_no_time() -> None:
    assert age(None, LATER) is None
    assert age("yesterday", LATER) == "<invalid>"
    assert age("2026-11-22T21:07:31.900000", LATER.astimezone(UTC) + timedelta(seconds=1)) == "5s"


def test_a_table_has_a_kinds_columns_and_objects_with_their_metadata() -> None:
    document = {**stored(spec={"nodeName": "n1"}), "status": {"phase": "Running"}}

    shown = table(MACHINE, [document], now=LATER, list_metadata={"resourceVersion": "7"})

    assert (
        shown["kind"],
        shown["apiVersion"],
        shown["metadata"],
    ) == ("Table", "meta.k8s.io/v1", {"resourceVersion": "7"})
    assert [(column["name"], column["format"], column["priority"]) for column in shown["columnDefinitions"]] == [
        ("Name", "name", 0),
        ("Phase", "", 0),
        ("Node", "", 1),
        ("Age", "", 0),
    ]
    assert [
        {
            "cells": ["u", "Running", "n1", "5s"],
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": document["metadata"],
            },
        }
    ] == shown["rows"]


def test_what_is_missing_is_null() -> None:
    (row,) = table(MACHINE, [{"metadata": {"name": "u"}}], now=LATER)["rows"]

    assert row["cells"] == ["u", None, None, None]


def test_a_watch_sends_the_columns_once() -> None:
    assert table(MACHINE, [], now=LATER, headers=False)["columnDefinitions"] is None


def test_a_row_carries_what_was_asked_for() -> None:
    def carried(include: str) -> object:
        return table(MACHINE, [stored()], now=LATER, include_object=include)["rows"][0]["object"]

    assert stored() == carried("Object")
    assert carried("None") is None
    assert carried("") == carried("Metadata") == partial(stored())


def test_another_include_object_is_400() -> None:
    with pytest.raises(ApiError) as refused:
        table(MACHINE, [], now=LATER, include_object="All")

    must = "includeObject: Invalid value: \"All\": must be 'Metadata', 'Object', 'None', or empty"
    assert (refused.value.code, refused.value.message) == (400, f"Unable to convert to Table as requested: {must}")


def test_the_older_version_is_said_throughout() -> None:
    shown = table(MACHINE, [stored()], now=LATER, version="v1beta1")

    assert "meta.k8s.io/v1beta1" == shown["apiVersion"] == shown["rows"][0]["object"]["apiVersion"]


def test_a_partial_list_has_metadata_only() -> None:
    listed = partial_list([stored()], {"resourceVersion": "7"})

    assert {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "7"},
        "items": [partial(stored())],
    } == listed
