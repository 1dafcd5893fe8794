"""What a migration's process needs and may not change: resolved when the run is started, kept in the run's row."""

from __future__ import annotations

from uuid import UUID

from app.hypervisor.base import Compression
from app.machinery.objects import Wire


class Place(Wire):
    """One host of a migration."""

    node: str
    uri: str
    """As the workers reach it."""
    credentials: str = ""
    """The set by which they do; empty is what counts for hosts that name none."""


class Granted(Wire):
    """By the policy that fitted best, and the settings."""

    bandwidth: int | None = None
    max_downtime_ms: int = 300


class Copy(Wire):
    """A disk that only the source reaches, unless libvirt knows better: copied into a new file on the target."""

    disk: str
    """As the guest sees it: vda."""
    format: str
    source_path: str
    target_path: str


class Plan(Wire):
    """One attempt: which guest, from where to where, and how."""

    vm: str
    """namespace/name."""
    domain: UUID
    adopted: bool = False
    """Somebody else defined it: what the move takes from it is given back."""
    source: Place
    target: Place
    peer_uri: str
    """The target as the source reaches it."""
    migration_uri: str | None = None
    bandwidth: int | None = None
    """Bytes per second; None is no cap."""
    max_downtime_ms: int = 300
    completion_s_per_gib: int = 150
    progress_s: int = 150
    auto_converge: bool = False
    post_copy: bool = False
    disruption: bool = False
    arrive_paused: bool = False
    """The guest, if it runs, arrives stopped; its mark says so."""
    parallel_connections: int = 0
    compression: Compression | None = None
    memory: int = 0
    """Bytes of the guest."""
    disks: int = 0
    """Bytes of the disks that are copied, as far as their host has told."""
    granted: Granted = Granted()
    """What may be changed on the way, as it would be without the Migration's own wishes."""
    unsafe: bool = False
    copies: tuple[Copy, ...] = ()
    images: tuple[Copy, ...] = ()
    """Disks that are only read: brought to the target beforehand, unless it has the same file."""
    disks_uri: str | None = None
    """Where the target listens for them; None lets libvirt choose."""
    tls: bool = False
    """The stream between the two hosts is encrypted."""
    tls_name: str | None = None
    """What the target's certificate is made out to, where that is not the host in its migration URI."""
    store: str = ""
    """Which Drover writes its mark."""
    migration_uid: str
    attempt: int = 1
    migration_pod: str
    migration_pod_uid: UUID
    target_pod: str
    source_pod: str = ""
