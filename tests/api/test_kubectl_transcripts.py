"""kubectl 1.37 command by command, as transcripts: what it asks for and what it prints are as against a kube-apiserver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from app.api.application import create_api
from app.api.context import SubresourceHandler
from app.controllers.eviction import Evictions
from app.controllers.finalize import Finalize
from app.controllers.guards import namespace_guard, node_guard
from app.kinds import ALL, NAMESPACE, NODE, POD
from app.server import listen, listening
from app.store.base import Store, edit
from app.wiring.service import Service
from tests.api.builders import make_namespace, make_pod, pod
from tests.api.kubectl import Kubectl
from tests.api.test_kubectl import terminated
from tests.api.transcripts import Recorder, Transcript, agrees, played
from tests.controllers.world import leading

FOLDER = Path(__file__).parent / "transcripts"
LED = {"delete-and-wait"}
"""Where the controllers that tidy up are at work too."""


@dataclass(frozen=True)
class Stage:
    """kubectl, and the server that it speaks to."""

    kubectl: Kubectl
    recorder: Recorder


@pytest.fixture
async def stage(store: Store, tmp_path: Path) -> AsyncIterator[Stage]:
    """With a pod that has ended."""
    await make_namespace(store, "default")
    await ended_pod(store)
    handlers: dict[tuple[str, str], SubresourceHandler] = {
        (NAMESPACE.name, "finalize"): Finalize(store),
        (POD.name, "eviction"): Evictions(store).answer,
    }
    guards = {NODE.name: node_guard, NAMESPACE.name: namespace_guard}
    api = create_api(store, ALL, version="v1.36.0+drover-test", handlers=handlers, guards=guards)
    recorder = Recorder(api)
    listener = listen("127.0.0.1", 0)
    service = Service(recorder, asyncio.Event(), api.end_streams)
    async with listening(service, listener):
        kubectl = Kubectl.at(f"http://127.0.0.1:{listener.getsockname()[1]}", tmp_path)
        yield Stage(kubectl, recorder)
        await kubectl.stop()


async def ended_pod(store: Store) -> None:
    made = await make_pod(store, pod())
    said = [(datetime(2026, 1, 1, second=second, tzinfo=UTC), f"line {second}") for second in (1, 2, 3)]
    await store.logs.append(UUID(made.document["metadata"]["uid"]), said)
    await edit(store.objects, made.key, terminated)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.txt")))
async def test_kubectl_does_as_the_transcript_says(store: Store, stage: Stage, tmp_path: Path, name: str) -> None:
    transcript = Transcript.read(FOLDER / f"{name}.txt")
    for file, text in transcript.files.items():
        (tmp_path / file).write_text(text)
        (tmp_path / file).chmod(0o755)

    async with leading(store) if name in LED else nullcontext():
        happened = [(step, await played(step, stage.kubectl, stage.recorder)) for step in transcript.steps]

    wrong = [(expected, seen) for expected, seen in happened if not agrees(expected, seen)]
    assert not wrong, "\n\n".join(f"{expected.text()}\n---- but\n{seen.text()}" for expected, seen in wrong)
