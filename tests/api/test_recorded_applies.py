"""A kube-apiserver was sent these applies one after the other; its answers, recorded, are ours."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import orjson
from pydantic import Field

from app.api.application import create_api
from app.kinds import NAMESPACE
from app.machinery.kind import KUBEVIRT, Kind
from app.machinery.objects import Document, Wire
from app.store.base import Store
from tests.api.builders import make_namespace
from tests.machinery.examples import Disk, MachineStatus, Policy, by_key

RECORDED = Path(__file__).with_name("recorded_applies.json")
"""From a kube-apiserver 1.36. `at` is the second it was asked in; `edited` says what of an answer is not compared."""


class AppliedSpec(Wire):
    """The spec of the recorded custom resource, whose `running` has a default."""

    node_name: str | None = None
    replicas: Annotated[int, Field(ge=0)] | None = None
    running: bool = False
    policy: Policy | None = None
    disks: Annotated[list[Disk], by_key("name")]


def not_running(document: Document) -> None:
    document.setdefault("spec", {}).setdefault("running", False)


APPLIED = Kind(
    name="VirtualMachine",
    plural="virtualmachines",
    served=(KUBEVIRT,),
    spec=AppliedSpec,
    status=MachineStatus,
    selectable=("spec.nodeName",),
    default=not_running,
)


class Versions:
    """Which of our versions stands for which recorded one: a write that changes nothing makes none."""

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}

    def recorded(self, ours: str, theirs: str) -> str:
        return theirs if self._ours.setdefault(theirs, ours) == ours else f"{ours}, not {self._ours[theirs]}"


def comparable(answer: Document, recorded: Document, versions: Versions) -> Document:
    """Of ours what the recording can have: not what each server makes up for itself."""
    compared = {name: value for name, value in answer.items() if name in recorded}
    if "metadata" in compared:
        metadata, theirs = dict(compared["metadata"]), recorded["metadata"]
        metadata["resourceVersion"] = versions.recorded(metadata["resourceVersion"], theirs["resourceVersion"])
        metadata.pop("selfLink", None)
        if "managedFields" not in theirs:
            metadata.pop("managedFields", None)
        compared["metadata"] = metadata | {"uid": theirs["uid"], "creationTimestamp": theirs["creationTimestamp"]}
    return compared


async def test_applies_are_answered_as_kube_apiserver_answered_them(store: Store) -> None:
    exchanges: list[Document] = orjson.loads(RECORDED.read_bytes())
    at = iter([exchange["at"] for exchange in exchanges])
    now = [datetime.fromisoformat(exchanges[0]["at"])]
    await make_namespace(store, "default")
    api = create_api(store, [APPLIED, NAMESPACE], version="v1.36.0", clock=lambda: now[0])
    versions, answers = Versions(), []

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as client:
        for exchange in exchanges:
            now[0] = datetime.fromisoformat(next(at))
            answer = await client.request(
                exchange["method"],
                exchange["path"],
                content=exchange["body"].encode(),
                headers={"content-type": exchange["type"]} if exchange["type"] else {},
            )
            shown: Any = comparable(answer.json(), exchange["answer"], versions)
            answers.append((exchange["path"], exchange["body"], answer.status_code, shown))

    assert answers == [(each["path"], each["body"], each["code"], each["answer"]) for each in exchanges]
    assert len(exchanges) > 30
