"""MigrationPolicy: options for the migrations of many VirtualMachines, chosen by their labels and their namespaces'.

Named and matched as KubeVirt's own (migrations.kubevirt.io): a policy whose selectors all hold applies; of several the one with
the most labels, then the one with more labels of the VirtualMachine, then the first by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from app.kinds.migration_options import MigrationOptions, option_problems
from app.kinds.shape import MAP_ATOMIC, LabelMap, Nothing, Shape, label_problems
from app.machinery.errors import FieldError
from app.machinery.kind import AGE, KUBEVIRT, Column, Kind
from app.machinery.objects import Document


class PolicySelectors(Shape):
    """Which VirtualMachines are meant: all labels of both selectors must be there. Empty means every one."""

    namespace_selector: Annotated[LabelMap, MAP_ATOMIC] = Field(default_factory=dict)
    """Labels that the VirtualMachine's namespace carries."""
    virtual_machine_instance_selector: Annotated[LabelMap, MAP_ATOMIC] = Field(default_factory=dict)
    """Labels that the VirtualMachine itself carries."""


class MigrationPolicySpec(MigrationOptions):
    """Options for the migrations that are meant. A Migration's own options win over them, and one that runs keeps what it began
    with when the policy changes."""

    selectors: PolicySelectors
    """Which VirtualMachines are meant."""


def _check(document: Document) -> Iterator[FieldError]:
    spec = document.get("spec") or {}
    for name in ("namespaceSelector", "virtualMachineInstanceSelector"):
        yield from label_problems(f"spec.selectors.{name}", (spec.get("selectors") or {}).get(name))
    yield from option_problems("spec", spec)


def _shown(name: str) -> Column:
    words = {"namespaceSelector": "Namespaces", "virtualMachineInstanceSelector": "VMs"}
    return Column(
        words[name],
        lambda document: (
            ",".join(
                f"{key}={value}"
                for key, value in sorted(
                    (((document.get("spec") or {}).get("selectors") or {}).get(name) or {}).items()
                )
            )
            or "<any>"
        ),
        description=f"Labels of spec.selectors.{name}.",
    )


def _options(document: Document) -> str | None:
    """What it says, in a row."""
    said = {name: value for name, value in (document.get("spec") or {}).items() if name != "selectors"}
    shown = {name: str(value).lower() if isinstance(value, bool) else value for name, value in sorted(said.items())}
    return ",".join(f"{name}={value}" for name, value in shown.items()) or None


_OPTIONS = Column("Options", _options, priority=1, description="What it says of migrations.")

MIGRATION_POLICY: Kind[MigrationPolicySpec, Nothing] = Kind(
    name="MigrationPolicy",
    plural="migrationpolicies",
    served=(KUBEVIRT,),
    spec=MigrationPolicySpec,
    status=Nothing,
    has_status=False,
    description="MigrationPolicy holds options for the migrations of the VirtualMachines that it selects.",
    namespaced=False,
    columns=(_shown("namespaceSelector"), _shown("virtualMachineInstanceSelector"), AGE, _OPTIONS),
    check_create=_check,
    check_update=lambda _old, new: _check(new),
)
