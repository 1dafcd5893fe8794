"""MigrationPolicy: how guests are moved whose labels, or whose namespaces' labels, it selects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from app.kinds.migration_options import MigrationOptions, option_problems
from app.kinds.shape import MAP_ATOMIC, LabelMap, Nothing, Shape, label_problems
from app.machinery.errors import FieldError, required
from app.machinery.kind import AGE, KUBEVIRT, Column, Kind
from app.machinery.objects import Document


class Selectors(Shape):
    """Which guests are meant: those with all of these labels, at least one. Where several policies fit, the one with the most
    labels counts, then the one with more labels of the VirtualMachine, then the first by name."""

    namespace_selector: Annotated[LabelMap, MAP_ATOMIC] = Field(default_factory=dict)
    """Labels of the namespace."""
    virtual_machine_instance_selector: Annotated[LabelMap, MAP_ATOMIC] = Field(default_factory=dict)
    """Labels of the VirtualMachine."""


class MigrationPolicySpec(MigrationOptions):
    """Which guests are meant, and how they are moved. A Migration's own options go before; running ones keep what they were
    started with."""

    selectors: Selectors
    """Which guests are meant."""


_SELECTORS = ("namespaceSelector", "virtualMachineInstanceSelector")


def _check(document: Document) -> Iterator[FieldError]:
    spec = document.get("spec") or {}
    selectors = spec.get("selectors") or {}
    for name in _SELECTORS:
        yield from label_problems(f"spec.selectors.{name}", selectors.get(name))
    if not any(selectors.get(name) for name in _SELECTORS):
        yield required("spec.selectors", "name at least one label, of a namespace or of a VirtualMachine")
    yield from option_problems("spec", spec)


def _check_update(_: Document, new: Document) -> Iterator[FieldError]:
    return _check(new)


MIGRATION_POLICY: Kind[MigrationPolicySpec, Nothing] = Kind(
    name="MigrationPolicy",
    plural="migrationpolicies",
    served=(KUBEVIRT,),
    spec=MigrationPolicySpec,
    status=Nothing,
    description="A MigrationPolicy says how guests are moved that it selects by their labels or their namespaces'.",
    namespaced=False,
    has_status=False,
    columns=(
        Column("Bandwidth", "spec.bandwidthPerMigration", description="At most so many bytes per second."),
        Column("Downtime", "spec.maxDowntimeMs", description="Milliseconds that a guest may be stopped."),
        AGE,
        Column("AutoConverge", "spec.allowAutoConverge", priority=1, description="Guests may be slowed down."),
        Column("PostCopy", "spec.allowPostCopy", priority=1, description="Guests may be moved before their memory."),
    ),
    check_create=_check,
    check_update=_check_update,
)
