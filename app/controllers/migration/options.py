"""How a guest is moved: its Migration's own wishes first, then the policy that fits best, then the settings. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.controllers.migration.plan import Granted
from app.hypervisor.base import Compression
from app.kinds import quantity
from app.kinds.migration_options import CHANGEABLE, MigrationConfiguration
from app.machinery.objects import Document

DEFAULTS: Document = {
    "maxDowntimeMs": 300,
    "completionTimeoutPerGiB": 150,
    "progressTimeout": 150,
    "allowAutoConverge": False,
    "allowPostCopy": False,
    "allowWorkloadDisruption": False,
    "parallelConnections": 0,
}
"""Where nothing else says anything; without a cap and without compression."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What policies select by."""

    vm: Mapping[str, str]
    namespace: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What came of it, and what the Migration could have back of what it may change."""

    configuration: MigrationConfiguration
    granted: Granted

    def plan(self) -> dict[str, Any]:
        """Its part of a plan."""
        told = self.configuration
        return {
            "bandwidth": _bytes(told.bandwidth_per_migration),
            "max_downtime_ms": told.max_downtime_ms,
            "completion_s_per_gib": told.completion_timeout_per_gib,
            "progress_s": told.progress_timeout,
            "auto_converge": bool(told.allow_auto_converge),
            "post_copy": bool(told.allow_post_copy),
            "disruption": bool(told.allow_workload_disruption),
            "parallel_connections": told.parallel_connections or 0,
            "compression": None if told.compression is None else Compression(told.compression.value),
            "granted": self.granted,
        }


def resolve(own: Document, policies: Iterable[Document], labels: Labels, defaults: Document) -> Resolved:
    """Each option by itself. What excludes one another gives way: parallel connections to post-copy, compression to what it
    cannot go with."""
    best = fitting(policies, labels)
    policy = {} if best is None else {key: value for key, value in best["spec"].items() if key != "selectors"}
    granted = {**DEFAULTS, **_set(defaults), **_set(policy)}
    told = _compatible({**granted, **_set(own)})
    if best is not None:
        told["migrationPolicy"] = best["metadata"]["name"]
    return Resolved(
        MigrationConfiguration.read(told),
        Granted(bandwidth=_bytes(granted.get("bandwidthPerMigration")), max_downtime_ms=granted["maxDowntimeMs"]),
    )


def retuned(configuration: MigrationConfiguration, own: Document, granted: Granted) -> MigrationConfiguration:
    """What is frozen, with what may be changed as the Migration wishes it now."""
    cap = None if granted.bandwidth is None else quantity.binary(granted.bandwidth)
    back = {"bandwidthPerMigration": cap, "maxDowntimeMs": granted.max_downtime_ms}
    wished = {name: value if (value := own.get(name)) is not None else back[name] for name in CHANGEABLE}
    return MigrationConfiguration.read(_set({**configuration.dump(), **wished}))


def changed_plan(plan: Document, configuration: MigrationConfiguration) -> Document:
    """The run's plan, with what may be changed as it is now."""
    return {
        **plan,
        "bandwidth": _bytes(configuration.bandwidth_per_migration),
        "maxDowntimeMs": configuration.max_downtime_ms,
    }


def fitting(policies: Iterable[Document], labels: Labels) -> Document | None:
    """As KubeVirt chooses: all labels that a policy names must be there; the most of them count, then those of the
    VirtualMachine, then the name."""
    scored = [(_score(policy, labels), policy) for policy in policies]
    fit = [(score, policy) for score, policy in scored if score is not None]
    return min(fit, key=lambda one: (-one[0][0], -one[0][1], one[1]["metadata"]["name"]))[1] if fit else None


def _score(policy: Document, labels: Labels) -> tuple[int, int] | None:
    selectors = policy["spec"].get("selectors") or {}
    of_namespace = selectors.get("namespaceSelector") or {}
    of_vm = selectors.get("virtualMachineInstanceSelector") or {}
    if not (_all_in(of_namespace, labels.namespace) and _all_in(of_vm, labels.vm)) or not (of_namespace or of_vm):
        return None
    return len(of_namespace) + len(of_vm), len(of_vm)


def _all_in(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


def _compatible(options: Document) -> Document:
    if options["allowPostCopy"]:
        options["parallelConnections"] = 0
    packed, parallel = options.get("compression"), options["parallelConnections"]
    if packed is not None and (packed == Compression.XBZRLE) == bool(parallel):
        del options["compression"]
    return options


def _set(options: Document) -> Document:
    return {name: value for name, value in options.items() if value is not None}


def _bytes(text: str | None) -> int | None:
    return None if text is None else quantity.whole(text)
