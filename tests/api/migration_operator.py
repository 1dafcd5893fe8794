"""A kopf operator of Migrations, run by `kopf run`: it keeps its state in annotations, and says what it is told."""

from __future__ import annotations

import logging
from typing import Any

import kopf

MIGRATIONS = ("kubevirt.io", "v1alpha1", "migrations")
CREATED, STEPS = "example.com/created", "example.com/steps"


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.networking.error_backoffs = [0.2] * 300
    settings.posting.level = logging.INFO
    settings.persistence.finalizer = "example.com/operator"


@kopf.on.create(*MIGRATIONS)
def created(name: str | None, spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> None:
    print(f"created {name}", flush=True)
    patch.metadata.annotations[CREATED] = spec["selector"]["name"]


@kopf.on.field(*MIGRATIONS, field="metadata.labels.step")
def stepped(name: str | None, new: Any, annotations: kopf.Annotations, patch: kopf.Patch, **_: Any) -> None:
    print(f"stepped {name} {new}", flush=True)
    patch.metadata.annotations[STEPS] = f"{annotations.get(STEPS, '')} {new}".strip()


@kopf.on.delete(*MIGRATIONS)
def deleted(name: str | None, body: kopf.Body, **_: Any) -> None:
    print(f"deleted {name}", flush=True)
    kopf.info(body, reason="Deleted", message=f"{name} was looked after to its end")


@kopf.on.event(*MIGRATIONS)
def told(name: str | None, type: str | None, **_: Any) -> None:
    print(f"told {name} {type}", flush=True)
