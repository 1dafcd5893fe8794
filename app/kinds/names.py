"""Names that objects carry: labels, annotations, finalizers. Each is defined here and nowhere else."""

from __future__ import annotations

# Labels of ours.
APP = "kubevirt.io"
"""On pods: `virt-launcher` for a guest's pod, `migration` for a migration's."""
APP_LAUNCHER = "virt-launcher"
APP_MIGRATION = "migration"
DOMAIN = "kubevirt.io/domain"
"""On pods: the VirtualMachine's name."""
VM_UID = "kubevirt.io/vmUID"
"""On launcher pods: the VirtualMachine's uid."""
NODE_NAME = "kubevirt.io/nodeName"
"""On VirtualMachines: the node where the guest runs."""
MIGRATION_NAME = "kubevirt.io/migration"
"""On the target pod and the migration pod: the Migration's name."""
MIGRATION_UID = "kubevirt.io/migrationUID"
"""On the target pod and the migration pod: the Migration's uid."""

ADOPTED = "kubevirt.io/adopted"
"""On VirtualMachines: the guest ran already when Drover found it. Only shown: status.adopted decides."""
EVACUATION = "kubevirt.io/evacuationMigration"
"""On Migrations that were made to empty a node: that node."""

# Annotations of ours.
EVACUATION_FAILURES = "kubevirt.io/evacuation-failures"
"""On Migrations that were made to empty a node: how many had failed in a row before it."""

RESOLVE = "kubevirt.io/resolve"
"""On a Migration that is held, set by the operator: `source`, `target` or `lost` says where its guest is. Refused while a host
says otherwise; gone when the hold is over."""

# Labels of Kubernetes' own, on Nodes.
HOSTNAME = "kubernetes.io/hostname"
"""The Node's name, whatever the host calls itself."""
OS = "kubernetes.io/os"
ARCH = "kubernetes.io/arch"
ROLE_PREFIX = "node-role.kubernetes.io/"
ROLE = "kubernetes.io/role"
CPU_MODEL_PREFIX = "cpu-model.node.kubevirt.io/"
"""Followed by the host's CPU model; the value is `true`."""
MACHINE_TYPE_PREFIX = "machine-type.node.kubevirt.io/"
"""Followed by a machine type that the host's emulator offers; the value is `true`."""

# Taints of Kubernetes' own, on Nodes.
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""With the effect NoExecute: the operator's word that the host is off and cannot come back by itself. Its guests are lost."""

# Annotations on Nodes, read by Drover and set by the operator.
MIGRATION_URI = "kubevirt.io/migration-uri"
"""Where guests' memory is sent to reach this host: tcp://…, unix://…; unset lets libvirt choose. A unix URI that ends in
a slash is a folder: each migration listens at `<its uid>.sock` in it, so that several may arrive at once."""
PEER_URI = "kubevirt.io/peer-uri"
"""This host's libvirt URI as the other hosts reach it, where it differs from spec.providerID."""
MIGRATION_TLS = "kubevirt.io/migration-tls"
"""This host's QEMUs have certificates for migrations. Its value is the name that they bear, or `true` where that is the host
in its migration URI."""
SHARED_PATHS = "kubevirt.io/shared-paths"
"""Prefixes of paths, separated by commas, that this host shares with others that declare them too."""
ADOPT_NAMESPACE = "kubevirt.io/adopt-namespace"
"""Where guests that already run on this host become VirtualMachines; unset is `default`, `none` leaves them alone."""
ALLOCATABLE_MEMORY = "kubevirt.io/allocatable-memory"
"""Caps the memory that this Node offers to guests; a quantity."""
ALLOCATABLE_CPU = "kubevirt.io/allocatable-cpu"
"""Caps the CPU that this Node offers to guests; a quantity."""
CREDENTIALS = "kubevirt.io/credentials"
"""The name of the set of certificates and keys by which Drover reaches this host: a folder of DROVER_HOST_CREDENTIALS. Unset:
the set `default`, where there is one."""
DRAIN = "kubevirt.io/drain"
"""`true` empties the Node by live migration and keeps guests away, as `kubectl drain` does; taking it off is as uncordoning.
Drover puts it on the Migrations that it makes of a node that is cordoned or so annotated: uncordoning calls those off."""

LIBVIRTD_WORKERS = "kubevirt.io/libvirtd-workers"
"""How many worker threads the host's libvirtd has (max_workers in its configuration; 20 unless it was changed). Each
migration holds one on either host, and four are left for everything else."""

# Finalizers.
MIGRATION_FINALIZER = "kubevirt.io/migration"
VIRTUAL_MACHINE_FINALIZER = "kubevirt.io/virtualmachine"
