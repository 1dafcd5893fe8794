"""Event and Namespace: as kubectl knows them."""

from __future__ import annotations

import pytest

from app.kinds import EVENT, NAMESPACE
from app.machinery.objects import Document
from app.machinery.schema import schema_of
from tests.kinds.builders import created, object_of, said, shown


def event(**body: object) -> Document:
    involved = {"kind": "Migration", "name": "m", "namespace": "default"}
    return object_of(EVENT, "m.1", metadata={"namespace": "default"}, involvedObject=involved, **body)


def test_an_events_columns_are_kubectls() -> None:
    told = event(
        type="Warning", reason="Unschedulable", message="0/3 nodes", count=3, lastTimestamp="2026-01-01T00:00:55Z",
        firstTimestamp="2026-01-01T00:00:00Z", source={"component": "drover", "host": "node0"},
    )  # fmt: skip

    row = shown(EVENT, told, wide=True)

    assert list(shown(EVENT, told)) == ["Last Seen", "Type", "Reason", "Object", "Message"]
    assert (row["Last Seen"], row["First Seen"], row["Count"]) == ("5s", "60s", 3)
    assert (row["Object"], row["Source"]) == ("migration/m", "drover, node0")


def test_a_series_tells_when_last_and_how_often() -> None:
    told = event(
        eventTime="2026-01-01T00:00:00.000000Z", series={"count": 7, "lastObservedTime": "2026-01-01T00:00:58.000000Z"}
    )

    row = shown(EVENT, told, wide=True)

    assert (row["Last Seen"], row["Count"]) == ("2s", 7)


def test_an_event_is_in_its_objects_namespace() -> None:
    elsewhere = event()
    elsewhere["involvedObject"]["namespace"] = "other"

    assert said(EVENT, event()) == []
    assert said(EVENT, elsewhere) == [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    ]


def test_a_cluster_scoped_objects_event_is_in_the_default_namespace() -> None:
    of_a_node = event()
    del of_a_node["involvedObject"]["namespace"]

    assert said(EVENT, of_a_node) == []


def test_what_clients_post_as_events_fits() -> None:
    posted = event(eventTime=None, reportingComponent="kopf", reportingInstance="dev", action="Moved", type="Normal")
    del posted["involvedObject"]["name"]

    unknown = schema_of(EVENT).prune(posted)

    assert unknown == []


@pytest.mark.parametrize(("deleted", "expected"), [(False, "Active"), (True, "Terminating")])
def test_a_namespace_is_active_until_it_goes(deleted: bool, expected: str) -> None:
    stored = created(NAMESPACE, object_of(NAMESPACE, "team"))
    if deleted:
        stored["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert stored["status"] == {"phase": "Active"}
    assert expected == shown(NAMESPACE, stored)["Status"]
