"""Objects to store."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from app.store.base import Key, Run

WIDGETS = "widgets.example.com"


def key(name: str = "a", namespace: str = "default") -> Key:
    return Key(WIDGETS, namespace, name)


def widget(name: str = "a", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "spec": spec,
    }


def run(**fields: Any) -> Run:
    values: dict[str, Any] = {
        "id": uuid4(),
        "migration": Key("migrations.kubevirt.io", "default", "m"),
        "migration_uid": uuid4(),
        "domain": uuid4(),
        "source": "node0",
        "target": "node1",
        "attempt": 1,
        "plan": {"uri": "qemu:///session"},
        "memory": 64 << 20,
    }
    return Run(**values | fields)
