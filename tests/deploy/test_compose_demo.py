"""The compose file's demo: replicas come up one after the other, and an answer may be lost."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

FILE = Path(__file__).parents[2] / "deploy" / "compose" / "demo.py"
NODE = {"kind": "Node", "metadata": {"name": "host0"}}


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("compose_demo", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    return module


def away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def client(answers: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(answers), base_url="http://drover")


@pytest.mark.parametrize(
    "first", [away, lambda _: httpx.Response(503, text="no database yet")], ids=["a replica is not up", "503"]
)
@pytest.mark.parametrize("code", [201, 409])
def test_a_create_is_tried_again(demo: ModuleType, capsys: pytest.CaptureFixture[str], first: Any, code: int) -> None:
    drover = demo.Drover([client(first), client(lambda _: httpx.Response(code))])

    drover.create("/api/v1/nodes", NODE)

    assert capsys.readouterr().out == f"Node host0: {code}\n"


def test_a_create_that_is_refused_is_told(demo: ModuleType) -> None:
    drover = demo.Drover([client(lambda _: httpx.Response(422, text="no such field"))])

    with pytest.raises(SystemExit, match="Node host0: no such field"):
        drover.create("/api/v1/nodes", NODE)
