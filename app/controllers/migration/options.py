"""How a guest is to be moved: a Migration's own options, then those of the policy that means it most, then the defaults. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.kinds.migration import MigrationConfiguration, MigrationOptions
from app.machinery.objects import Document


@dataclass(frozen=True, slots=True)
class Resolved:
    """What holds for one attempt, and which policy had a part in it."""

    configuration: MigrationConfiguration
    policy: str | None = None


def resolve(
    own: Document, policies: Iterable[Document], vm: Mapping[str, str], namespace: Mapping[str, str],
    defaults: MigrationOptions,
) -> Resolved:  # fmt: skip
    """`own` is the Migration's spec.options; `vm` and `namespace` are the labels that policies select by."""
    policy = applicable(policies, vm, namespace)
    meant = {} if policy is None else {key: value for key, value in policy["spec"].items() if key != "selectors"}
    said = defaults.dump() | meant | {key: value for key, value in own.items() if value is not None}
    name = None if policy is None else str(policy["metadata"]["name"])
    return Resolved(MigrationConfiguration.read(said), name)


def applicable(
    policies: Iterable[Document], vm: Mapping[str, str], namespace: Mapping[str, str]
) -> Document | None:  # fmt: skip
    """The policy that counts, by KubeVirt's rule: most labels, then most of the VirtualMachine's, then the first name."""
    ranked = []
    for policy in policies:
        selectors = policy["spec"].get("selectors") or {}
        of_vm = selectors.get("virtualMachineInstanceSelector") or {}
        of_namespace = selectors.get("namespaceSelector") or {}
        if of_vm.items() <= vm.items() and of_namespace.items() <= namespace.items():
            ranked.append((-len(of_vm) - len(of_namespace), -len(of_vm), str(policy["metadata"]["name"]), policy))
    return min(ranked, key=lambda rank: rank[:3])[3] if ranked else None
