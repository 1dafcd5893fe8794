"""A kube-apiserver was asked these gets and lists one after the other; its answers, recorded, are ours."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import orjson

from app.api.application import create_api
from app.kinds import NAMESPACE
from app.machinery.objects import Document
from app.store.base import Store
from tests.api.builders import KV, make_namespace
from tests.api.test_recorded_applies import APPLIED

RECORDED = Path(__file__).with_name("recorded_reads.json")
"""From a kube-apiserver 1.36 that had five machines, and a sixth when those marked `later` were asked. `edited` says what
was changed in an answer."""
MACHINES = f"{KV}/namespaces/default/virtualmachines"


def machine(name: str, node: str, **labels: str) -> Document:
    metadata = {"name": name, "labels": labels}
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": metadata,
        "spec": {"nodeName": node},
    }


def problem(exchange: Document, answer: httpx.Response, snapshot: str) -> str:
    """Where the answer differs from the recorded one; empty when it does not."""
    if answer.status_code != exchange["code"]:
        return f"{answer.status_code}: {answer.text}"
    for name, value in exchange.get("headers", {}).items():
        if answer.headers.get(name) != value:
            return f"{name} is {answer.headers.get(name)}"
    if "begins" in exchange:
        return "" if answer.text.startswith(exchange["begins"]) else answer.text
    said = answer.json()
    if "answer" in exchange:
        return compared(said, exchange["answer"])
    if "object" in exchange:
        shown = {
            "apiVersion": said["apiVersion"],
            "kind": said["kind"],
            "spec": said["spec"],
            "labels": said["metadata"]["labels"],
        }
        return "" if shown == exchange["object"] else str(shown)
    if "names" not in exchange:
        return ""
    names = [item["metadata"]["name"] for item in said["items"]]
    metadata = {name: value for name, value in said["metadata"].items() if name in ("continue", "remainingItemCount")}
    if metadata.get("continue"):
        metadata["continue"] = "<more>"
    at = (said["metadata"]["resourceVersion"] == snapshot) if exchange.get("later") else exchange["snapshot"]
    shown = {"names": names, "metadata": metadata, "snapshot": at}
    return "" if shown == {name: exchange[name] for name in shown} else str(shown)


def compared(said: Document, recorded: Document) -> str:
    """The recording left out what is the same in every Status; its versions are not ours."""
    shown = {name: value for name, value in said.items() if name in recorded}
    if "current: " in recorded["message"]:
        shown["message"] = shown["message"].partition("current: ")[0]
        recorded = {**recorded, "message": recorded["message"].partition("current: ")[0]}
    return "" if shown == recorded else str(said)


async def test_reads_are_answered_as_kube_apiserver_answered_them(store: Store) -> None:
    exchanges: list[Document] = orjson.loads(RECORDED.read_bytes())
    await make_namespace(store, "default")
    await make_namespace(store, "another")
    api = create_api(store, [APPLIED, NAMESPACE], version="v1.36.0")
    differing = []

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as client:
        for number in range(5):
            made = machine(f"v{number}", f"n{number % 2}", app="y" if number % 2 == 0 else "x", i=str(number))
            assert (await client.post(MACHINES, json=made)).status_code == 201
        await store.compact(older_than=timedelta(0), keep=2)
        page = (await client.get(f"{MACHINES}?limit=2")).json()["metadata"]
        facts = {"<token>": page["continue"], "<snapshot>": page["resourceVersion"]}
        late = False
        for exchange in exchanges:
            if exchange.get("later") and not late:
                late = True
                await client.post(MACHINES, json=machine("v05new", "n9"))
            path = exchange["path"]
            for name, value in facts.items():
                path = path.replace(name, value)
            answer = await client.get(path, headers={"accept": exchange.get("accept", "application/json")})
            wrong = problem(exchange, answer, facts["<snapshot>"])
            differing += [f"{exchange['path']}: {wrong}"] if wrong else []

    assert not differing, "\n".join(differing)
    assert len(exchanges) > 50
