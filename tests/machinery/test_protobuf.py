"""The protobuf that kubectl sends: an envelope around a Namespace or DeleteOptions."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.machinery.errors import ApiError
from app.machinery.objects import Document
from app.machinery.protobuf import MAGIC, of_protobuf, parse_protobuf, to_frame, to_protobuf
from app.machinery.protobuf_messages import MESSAGES, READ, Scalar

CREATE_NAMESPACE = (
    b'k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12\x1b\n\x13\n\x03foo\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00'
    b'\x12\x00\x1a\x02\n\x00\x1a\x00"\x00'
)
"""What kubectl 1.37 sent for `kubectl create namespace foo`."""


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value % (1 << 64))
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(kind: str, body: bytes, api_version: str = "v1") -> bytes:
    type_meta = field(1, api_version) + field(2, kind)
    return b"k8s\x00" + field(1, type_meta) + field(2, body) + field(3, "") + field(4, "")


def test_kubectls_own_namespace_is_read() -> None:
    assert parse_protobuf(CREATE_NAMESPACE) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "foo"},
    }


def test_maps_and_lists_of_metadata_are_read() -> None:
    owner = field(1, "Node") + field(3, "n") + field(4, "1") + field(5, "v1") + field(6, 1)
    metadata = (
        field(1, "foo")
        + field(11, field(1, "a") + field(2, "b"))
        + field(11, field(1, "c") + field(2, ""))
        + field(13, owner)
        + field(14, "x/y")
        + field(14, "z/w")
        + varint(99 << 3 | 1)
        + bytes(8)
    )

    document = parse_protobuf(envelope("Namespace", field(1, metadata)))

    assert document["metadata"] == {
        "name": "foo",
        "labels": {"a": "b", "c": ""},
        "ownerReferences": [{"kind": "Node", "name": "n", "uid": "1", "apiVersion": "v1", "controller": True}],
        "finalizers": ["x/y", "z/w"],
    }


OPTIONS: dict[str, tuple[bytes, Document]] = {
    "nothing": (b"", {}),
    "at once": (field(1, 0), {"gracePeriodSeconds": 0}),
    "a negative period": (field(1, -1), {"gracePeriodSeconds": -1}),
    "preconditions": (
        field(2, field(1, "u") + field(2, "7")),
        {"preconditions": {"uid": "u", "resourceVersion": "7"}},
    ),
    "orphans": (field(3, 0), {"orphanDependents": False}),
    "background and dry": (
        field(4, "Background") + field(5, "All"),
        {"propagationPolicy": "Background", "dryRun": ["All"]},
    ),
}


@pytest.mark.parametrize("case", OPTIONS.values(), ids=OPTIONS.keys())
def test_delete_options_are_read(case: tuple[bytes, Document]) -> None:
    body, expected = case

    document = parse_protobuf(envelope("DeleteOptions", body, "meta.k8s.io/v1"))

    assert document == {"apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions", **expected}


def test_another_kind_is_415() -> None:
    with pytest.raises(ApiError) as refused:
        parse_protobuf(envelope("Secret", b""))

    assert (refused.value.code, refused.value.reason) == (415, "UnsupportedMediaType")


MALFORMED = {
    "no envelope": b"{}",
    "cut in the middle": CREATE_NAMESPACE[:20],
    "a length beyond the end": b"k8s\x00\n\x7f",
    "a varint without end": b"k8s\x00" + b"\xff" * 11,
    "a group": b"k8s\x00\x0b",
    "a number for a text": envelope("Namespace", field(1, field(1, 7))),
    "a text for a number": envelope("DeleteOptions", field(1, "x")),
    "no UTF-8": envelope("Namespace", field(1, field(1, b"\xff"))),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_bytes_are_400(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        parse_protobuf(body)

    assert refused.value.code == 400


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other tests share the cores
@given(st.binary(max_size=40), st.integers(0, len(CREATE_NAMESPACE)))
def test_any_bytes_are_a_document_or_a_refusal(noise: bytes, cut: int) -> None:
    try:
        document = parse_protobuf(CREATE_NAMESPACE[:cut] + noise)
    except ApiError as refused:
        assert refused.code in (400, 415)
    else:
        assert document["kind"] in READ


NODE: Document = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": "n",
        "labels": {"b": "2", "a": ""},
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "o", "uid": "u", "controller": False}],
        "managedFields": [{"manager": "m", "time": "2026-01-02T03:04:05Z", "fieldsV1": {"f:spec": {".": {}}}}],
    },
    "spec": {"providerID": "qemu:///system", "unschedulable": True, "taints": [{"key": "k", "effect": "NoExecute"}]},
    "status": {"capacity": {"cpu": "4", "memory": "8Gi"}, "conditions": [{"type": "Ready", "status": "True"}]},
}


def test_a_written_document_is_read_as_it_was() -> None:
    assert of_protobuf(to_protobuf(NODE)) == NODE


def test_what_clients_of_the_message_do_not_know_is_not_sent() -> None:
    written = to_protobuf({**NODE, "status": {"hypervisor": {"domainTypes": ["kvm"]}, "phase": "x"}})

    assert of_protobuf(written)["status"] == {"phase": "x"}


def test_a_written_namespace_is_kubectls_but_for_what_is_empty() -> None:
    document: Document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foo"}}

    assert to_protobuf(document) == envelope("Namespace", field(1, field(1, "foo")))


def test_a_negative_number_takes_ten_bytes() -> None:
    document: Document = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": -1}

    assert to_protobuf(document) == envelope("DeleteOptions", varint(1 << 3) + b"\xff" * 9 + b"\x01")


def test_moments_keep_their_microseconds() -> None:
    event: Document = {"apiVersion": "v1", "kind": "Event", "eventTime": "2026-01-02T03:04:05.000006Z", "count": 3}

    assert of_protobuf(to_protobuf(event)) == event


def test_a_frame_says_how_long_it_is() -> None:
    frame = to_frame("ADDED", NODE)

    assert int.from_bytes(frame[:4]) == len(frame) - 4
    assert frame[4:] == field(1, "ADDED") + field(2, field(1, to_protobuf(NODE)))
    assert to_protobuf(NODE).startswith(MAGIC)


def test_every_message_is_made_of_known_ones_with_numbers_of_their_own() -> None:
    for name, message in MESSAGES.items():
        assert len({field.number for field in message.values()}) == len(message), name
        assert all(isinstance(field.of, Scalar) or field.of in MESSAGES for field in message.values()), name
