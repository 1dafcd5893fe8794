"""Kinds for these tests: the recorded custom resource, and a core kind with strategic merge."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from app.machinery.kind import AGE, CORE, KUBEVIRT, Column, GroupVersion, Kind, Subresource
from app.machinery.objects import Document, Wire


class Policy(StrEnum):
    A = "A"
    B = "B"


class Disk(Wire):
    """A disk."""

    name: str
    size: str | None = None


def by_key(key: str) -> Any:
    return Field(
        default_factory=list, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    )


class MachineSpec(Wire):
    """What is wanted."""

    node_name: str | None = None
    """Where it
    runs."""
    replicas: Annotated[int, Field(ge=0)] | None = None
    grace_seconds: int = 30
    running: bool = False
    policy: Policy | None = None
    port: int | str | None = None
    ratio: float | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    extra: dict[str, Any] = Field(default_factory=dict)
    disks: Annotated[list[Disk], by_key("name")]
    code: Annotated[str, Field(pattern="^[a-z]+$", min_length=2, max_length=4)] | None = None


class MachineStatus(Wire):
    """What is seen."""

    phase: str | None = None


MACHINE = Kind(
    name="VirtualMachine",
    plural="virtualmachines",
    served=(KUBEVIRT,),
    spec=MachineSpec,
    status=MachineStatus,
    description="A machine.",
    short_names=("vm", "vms"),
    categories=("all",),
    columns=(Column("Phase", "status.phase"), Column("Node", "spec.nodeName", priority=1), AGE),
    selectable=("spec.nodeName",),
)


class Taint(Wire):
    key: str
    effect: str


class Condition(Wire):
    type: str
    status: str


class HostSpec(Wire):
    unschedulable: bool = False
    taints: list[Taint] = Field(default_factory=list)


class HostStatus(Wire):
    conditions: Annotated[list[Condition], by_key("type")]


HOST = Kind(
    name="Node",
    plural="nodes",
    served=(CORE, KUBEVIRT),
    spec=HostSpec,
    status=HostStatus,
    description="A host.",
    namespaced=False,
    short_names=("no",),
    selectable=("spec.unschedulable",),
    typed=True,
    dns_label=True,
    finalizers=("drover.example/host",),
    subresources=(Subresource("eviction", ("create",), "Eviction", GroupVersion("policy", "v1")),),
)


class Nothing(Wire):
    pass


class Happened(Wire):
    reason: str | None = None
    involved_object: dict[str, str] = Field(default_factory=dict)
    count: int | None = None


HAPPENING = Kind(
    name="Event",
    plural="events",
    served=(CORE,),
    spec=Nothing,
    status=Nothing,
    body=Happened,
    typed=True,
    selectable=("involvedObject.name", "reason"),
)

NOW = "2026-11-22T21:07:31Z"
UID = "cb821a20-5033-4158-b9f5-8df84b01cf3f"


def machine(name: str = "u", *, spec: Document | None = None, **metadata: Any) -> Document:
    """As a client sends it."""
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, **metadata},
        "spec": {"disks": []} if spec is None else {"disks": [], **spec},
    }


def stored(name: str = "u", *, spec: Document | None = None, **metadata: Any) -> Document:
    """As the store has it."""
    document = machine(name, spec={"graceSeconds": 30, **(spec or {})})
    document["metadata"] |= {
        "namespace": "default",
        "uid": UID,
        "resourceVersion": "1021",
        "creationTimestamp": NOW,
        "generation": 2,
        "selfLink": f"/apis/kubevirt.io/v1alpha1/namespaces/default/virtualmachines/{name}",
        **metadata,
    }
    return document
