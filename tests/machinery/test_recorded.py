"""A kube-apiserver was sent these patches one after the other; its answers, recorded, are ours."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field

from app.machinery.documents import load_json
from app.machinery.errors import ApiError, invalid_object
from app.machinery.kind import KUBEVIRT, Kind
from app.machinery.lifecycle import prepare_update, validate_update
from app.machinery.objects import Document, Wire
from app.machinery.patch import json_patch, merge_patch, undecodable_patch
from app.machinery.schema import object_schema, schema_of
from tests.machinery.examples import Disk, MachineStatus, Policy, by_key

RECORDED = Path(__file__).with_name("recorded_patches.json")
"""From a kube-apiserver 1.36, but for the exchanges marked `edited`, which say what was changed in them.

Left out: strict validation and `force`, which are the API's; 10,001 operations, which have a test of their own; and
a negative `replicas`, where the recorded custom resource's scale adds an error that ours has no reason to give.
"""


class RecordedSpec(Wire):
    """The spec of the recorded custom resource."""

    node_name: str | None = None
    replicas: Annotated[int, Field(ge=0)] | None = None
    running: bool
    policy: Policy | None = None
    disks: Annotated[list[Disk], by_key("name")]


MACHINE = Kind(
    name="VirtualMachine", plural="virtualmachines", served=(KUBEVIRT,), spec=RecordedSpec, status=MachineStatus
)

BEFORE: Document = {
    "apiVersion": "kubevirt.io/v1alpha1",
    "kind": "VirtualMachine",
    "metadata": {
        "annotations": {"k": "v"},
        "creationTimestamp": "2026-11-22T21:08:47Z",
        "generation": 1,
        "labels": {"app": "x"},
        "name": "u",
        "namespace": "default",
        "resourceVersion": "1020",
        "uid": "d995fd68-3580-4a79-a443-d8e7dfdc77e7",
    },
    "spec": {"policy": "A", "replicas": 1, "running": False},
}


def patched(old: Document, exchange: Document) -> Document:
    """What would be stored. Raises ApiError."""
    try:
        patch = load_json(exchange["body"].encode())
    except ApiError as error:
        raise undecodable_patch(error.message) from error
    apply = {"merge": partial(merge_patch, old, patch), "json": partial(json_patch, old, patch)}[exchange["patch"]]
    wanted = apply()
    schema_of(MACHINE).prune(wanted)
    new = prepare_update(MACHINE, KUBEVIRT, old, wanted, patched=True)
    found = validate_update(MACHINE, old, new)
    if found:
        raise invalid_object(MACHINE.name, KUBEVIRT.group, "u", found)
    return new


def stored(old: Document, new: Document) -> Document:
    """As the store does it: a change gets the next version, no change gets none."""
    if new == old:
        return old
    version = str(int(old["metadata"]["resourceVersion"]) + 1)
    return {**new, "metadata": {**new["metadata"], "resourceVersion": version}}


def answered(old: Document, exchange: Document) -> tuple[Document, Document]:
    """The answer, and the object afterwards."""
    try:
        new = patched(copy.deepcopy(old), exchange)
    except ApiError as refused:
        asked = exchange["answer"].keys()
        return {name: value for name, value in refused.status().items() if name in asked}, old
    if exchange["dryRun"]:
        return new, old
    return stored(old, new), stored(old, new)


def test_patches_are_answered_as_kube_apiserver_answered_them() -> None:
    current = BEFORE
    exchanges = orjson.loads(RECORDED.read_bytes())
    answers = []

    for exchange in exchanges:
        answer, current = answered(current, exchange)
        answers.append((exchange["body"], answer))

    assert answers == [(exchange["body"], exchange["answer"]) for exchange in exchanges]
    assert len(exchanges) > 20


def test_the_recorded_kind_wants_a_spec() -> None:
    assert object_schema(MACHINE)["required"] == ["spec"]
