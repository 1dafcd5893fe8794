"""Of Kubernetes' protobuf only what kubectl asks by: a SelfSubjectAccessReview and its like."""

from __future__ import annotations

from typing import Any

_RESOURCE = ("", "namespace", "verb", "group", "version", "resource", "subresource", "name")


def review_in(body: bytes) -> dict[str, Any]:
    """A review out of a runtime.Unknown; its spec is empty where it asks about nothing."""
    assert body[:4] == b"k8s\0", body[:20]
    unknown = _fields(body[4:])
    kind = {name: value.decode() for number, value in unknown if number == 1 for name, value in _named(value)}
    raw = dict(unknown)[2]
    spec = dict(_fields(raw)).get(2, b"")
    asked: dict[str, Any] = {}
    for number, value in _fields(spec):
        if number == 1 and kind["kind"] == "SelfSubjectAccessReview":
            asked["resourceAttributes"] = {
                _RESOURCE[n]: text.decode() for n, text in _fields(value) if n < len(_RESOURCE)
            }
        elif number == 1:
            asked["namespace"] = value.decode()
        elif number == 2:
            said = dict(_fields(value))
            asked["nonResourceAttributes"] = {"path": said.get(1, b"").decode(), "verb": said.get(2, b"").decode()}
    return {**kind, "metadata": {}, "spec": asked}


def _named(type_meta: bytes) -> list[tuple[str, bytes]]:
    names = {1: "apiVersion", 2: "kind"}
    return [(names[number], value) for number, value in _fields(type_meta)]


def _fields(message: bytes) -> list[tuple[int, bytes]]:
    """The fields that have a length; numbers are passed over."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            _, at = _varint(message, at)
            continue
        assert tag & 7 == 2, tag
        length, at = _varint(message, at)
        found.append((tag >> 3, message[at : at + length]))
        at += length
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
