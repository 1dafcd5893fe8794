"""How a guest is to be moved: a Migration's own options, then those of the policy that means it most, then the defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.controllers.migration.plan import Granted
from app.controllers.migration.tuning import compatible, granted
from app.controllers.placement.nodes import has_certificates
from app.kinds import MIGRATION_POLICY, NAMESPACE
from app.kinds.migration_options import CopyStorage, MigrationConfiguration, MigrationOptions, Tls
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Scope, Transaction

DEFAULTS = MigrationOptions.read(
    {
        "tls": Tls.PREFERRED.value,
        "maxDowntimeMs": 300,
        "completionTimeoutPerGiB": 150,
        "progressTimeout": 150,
        "allowAutoConverge": False,
        "allowPostCopy": False,
        "allowWorkloadDisruption": False,
        "parallelConnections": 0,
    }
)
"""Where nobody says anything."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What holds for one attempt, and which policy had a part in it."""

    configuration: MigrationConfiguration
    policy: str | None = None
    granted: Granted = field(default_factory=Granted)
    """What there would be without the Migration's own wishes, of what it may change on the way."""

    @property
    def must_encrypt(self) -> bool:
        return self.configuration.tls is Tls.REQUIRED

    @property
    def copies(self) -> bool:
        """Disks that only the source reaches are copied."""
        return self.configuration.copy_storage is not CopyStorage.NEVER

    def encrypts(self, source: Mapping[str, str], target: Mapping[str, str]) -> bool:
        """Given the annotations of both Nodes."""
        declared = all(has_certificates(annotations) for annotations in (source, target))
        return self.must_encrypt or (self.configuration.tls is Tls.PREFERRED and declared)


def resolve(
    own: Document, policies: Iterable[Document], vm: Mapping[str, str], namespace: Mapping[str, str],
    defaults: MigrationOptions,
) -> Resolved:  # fmt: skip
    """`own` is the Migration's spec.options; `vm` and `namespace` are the labels that policies select by."""
    policy = applicable(policies, vm, namespace)
    meant = {} if policy is None else {key: value for key, value in policy["spec"].items() if key != "selectors"}
    given = defaults.dump() | meant
    said = given | {key: value for key, value in own.items() if value is not None}
    name = None if policy is None else str(policy["metadata"]["name"])
    back = granted(MigrationConfiguration.read(given))
    return Resolved(compatible(MigrationConfiguration.read(said)), name, back)


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


class Options:
    """What holds for each Migration, read in the transaction that decides about it."""

    def __init__(self, tx: Transaction, defaults: MigrationOptions) -> None:
        self._tx = tx
        self._defaults = defaults
        self._policies: list[Document] | None = None

    async def of(self, migration: Document, vm: Document) -> Resolved:
        """As it was frozen when the Migration first started; before that, as it is now."""
        state = (migration.get("status") or {}).get("migrationState") or {}
        if frozen := state.get("migrationConfiguration"):
            configuration = MigrationConfiguration.read(frozen)
            return Resolved(configuration, state.get("migrationPolicyName"), granted(configuration))
        if self._policies is None:
            listed = await self._tx.list(Scope(MIGRATION_POLICY.resource))
            self._policies = [stored.document for stored in listed.items]
        metadata = vm["metadata"]
        namespace = await self._namespace_labels(metadata["namespace"]) if self._policies else {}
        own = migration["spec"].get("options") or {}
        return resolve(own, self._policies, metadata.get("labels") or {}, namespace, self._defaults)

    async def _namespace_labels(self, name: str) -> Mapping[str, str]:
        try:
            namespace = (await self._tx.get(Key(NAMESPACE.resource, "", name))).document
        except NotFound:
            return {}
        labels: Mapping[str, str] = namespace["metadata"].get("labels") or {}
        return labels
