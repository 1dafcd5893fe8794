"""Every setting: type, unit, default, and why that default. Read once, at the door, and passed on as values."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_data_dir() -> Path:
    """`/var/lib/drover` as root, else `$XDG_STATE_HOME/drover`."""
    if os.geteuid() == 0:
        return Path("/var/lib/drover")
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "drover"


class Settings(BaseSettings):
    """`DROVER_*` variables; flags of the same names override them."""

    model_config = SettingsConfigDict(env_prefix="DROVER_", extra="ignore")

    database_url: SecretStr | None = None
    """postgresql://… ; unset means the embedded PostgreSQL in `data_dir`. A secret: only a variable, never a flag."""
    database_url_file: Path | None = None
    """A file that holds the URL, for orchestrators that mount secrets."""
    database_wait_s: Annotated[float, Field(ge=0)] = 60
    """How long a process that starts waits for PostgreSQL: after a power cut everything comes back at once, and a server that
    recovers takes a while. Then exit status 3, so that whoever supervises it tries again."""
    data_dir: Path = Field(default_factory=default_data_dir)
    """Where the embedded PostgreSQL keeps its data; shared by every process that names it."""
    lab_dir: Path = Field(default_factory=lambda: Path(tempfile.gettempdir()) / f"drover-lab-{os.geteuid()}")
    """Where `drover lab` keeps its hosts. Short: a unix socket's path has at most 107 bytes."""
    bind: str = "127.0.0.1"
    """Loopback: who wants others to reach it says so."""
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Unset: 8443 with TLS, 8080 without. 0 takes a free one and prints it."""
    tls: bool = True
    """Speak TLS: with `tls_cert`, or with certificates made in `data_dir` at the first start. Off: plain HTTP, on loopback
    only."""
    tls_cert: Path | None = None
    """PEM: the certificate, and after it what signed it. Read again when it changes."""
    tls_key: Path | None = None
    """PEM: the certificate's key, without a password."""
    aggregated: bool = False
    """Serve behind a cluster's kube-apiserver: identities, permissions, namespaces and Events are the cluster's. Wants a
    database of its own choosing."""
    kubeconfig: Path | None = None
    """Who Drover is in that cluster, and where it is. Unset: the Pod's service account."""
    health_bind: str = "127.0.0.1"
    """Where `drover work` tells its health and metrics: over plain HTTP, and to whoever reaches it, on loopback; elsewhere over
    TLS, and the metrics to whoever may read them."""
    health_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """0 takes a free one and prints it: any number of workers may run on one machine."""
    trust_loopback: bool = False
    """Take whoever reaches a loopback address without credentials for the administrator. Off: other users of the machine
    reach it too."""
    client_ca: Path | None = None
    """PEM: who signs users' certificates, beside the authority in `data_dir`. Read again when it changes."""
    token_auth_file: Path | None = None
    """kube-apiserver's CSV of static tokens: token,user,uid,"group1,group2". Read again when it changes."""
    requestheader_client_ca: Path | None = None
    """PEM: who signs front proxies' certificates; over such a one X-Remote-User and its like are believed. Read again when
    it changes."""
    requestheader_allowed_names: tuple[str, ...] = ()
    """Common names of front proxies' certificates. Empty: whatever that authority signed."""
    service_account_issuer: Annotated[str, Field(min_length=1)] = "https://drover"
    """Who says that it issued the tokens of service accounts: kube-apiserver's --service-account-issuer. The https address under
    which others reach this API, where they are to judge the tokens by themselves (OpenID Connect discovery)."""
    api_audiences: tuple[str, ...] = ()
    """Whom a token must be meant for to count here: kube-apiserver's --api-audiences. Empty: the issuer."""
    service_account_max_token_s: Annotated[int, Field(ge=600)] = 365 * 86_400
    """The longest that such a token lasts; who asks for more gets this. A year: those of robots are made anew that often."""
    service_account_key_s: Annotated[int, Field(ge=600)] = 90 * 86_400
    """How long a key signs tokens until a new one does; what it signed counts on. A quarter, as is usual for keys."""
    oidc_issuer_url: str | None = None
    """An OpenID Connect issuer whose ID tokens count, an https address: kube-apiserver's flags of these names. Unset: none."""
    oidc_client_id: str | None = None
    """For whom the tokens must be (aud)."""
    oidc_username_claim: str = "sub"
    """Which claim is the user. An email must be verified."""
    oidc_username_prefix: str | None = None
    """What the user's name begins with, so that it is nobody else's. Unset: the issuer and #, for email nothing. `-`: nothing."""
    oidc_groups_claim: str | None = None
    """Which claim is the groups: a text or a list of them. Unset: the tokens name none."""
    oidc_groups_prefix: str = ""
    """What the groups' names begin with."""
    oidc_ca_file: Path | None = None
    """PEM: who signs the issuer's certificate. Unset: whom the system trusts."""
    oidc_signing_algs: tuple[str, ...] = ("RS256",)
    """By which algorithms tokens may be signed."""
    oidc_required_claims: dict[str, str] = Field(default_factory=dict)
    """Claims that a token must have, with their values, as JSON."""
    admission_policies: Path | None = None
    """YAML: ValidatingAdmissionPolicies and their bindings, which what clients write must keep. Read again when it
    changes."""
    seats: Annotated[int, Field(ge=10)] = 400
    """How much is answered at once: a get takes one, a list one for each 4 KiB. kube-apiserver's --max-requests-inflight."""
    seats_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """What one user may hold of the seats, so that somebody else always finds one."""
    request_wait_s: Annotated[float, Field(gt=0)] = 15
    """How long a request waits for a seat before it is answered 429; a quarter of its minute, as kube-apiserver has it."""
    watches: Annotated[int, Field(ge=1)] = 10_000
    """Watches and followed logs that one process serves: each takes about 0.1 MB."""
    watches_of_user: Annotated[int, Field(ge=1)] = 2_500
    """Of one user, administrators too."""
    events_of_user: Annotated[int, Field(ge=1)] = 1000
    """Events that one user may write at once; after that `events_of_user_per_s`, and 429 for the others. Of each process."""
    events_of_user_per_s: Annotated[float, Field(gt=0)] = 50
    """kube-apiserver's own example for its plugin EventRateLimit."""
    events_of_object: Annotated[int, Field(ge=1)] = 100
    """Events that one source may write of one object at once; four times what well-behaved clients send."""
    events_of_object_per_s: Annotated[float, Field(gt=0)] = 1
    """After that, so many a second."""
    workers: bool = True
    """Run controllers and workers in this process too."""
    migrations_per_cluster: Annotated[int, Field(ge=1)] = 5
    """KubeVirt's default parallelMigrationsPerCluster."""
    migrations_outbound_per_node: Annotated[int, Field(ge=1)] = 2
    """KubeVirt's default; more streams out of one host slow each other down."""
    migrations_inbound_per_node: Annotated[int, Field(ge=1)] = 2
    """As many as outbound: the receiving side works as hard."""
    migration_tls: Literal["required", "preferred", "off"] = "preferred"
    """Whether the stream between two hosts is encrypted, where neither Migration nor policy says: where both have certificates,
    as far as their Nodes declare it."""
    unschedulable_timeout_s: Annotated[float, Field(gt=0)] = 300
    """How long a Migration waits in Scheduling for a node that fits."""
    queue_timeout_s: Annotated[float, Field(gt=0)] = 3600
    """How long a Migration waits in Pending for a slot."""
    bandwidth_per_migration: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,9}(M|Mi|G|Gi|T|Ti)$")] | None = None
    """At most so many bytes per second for each migration (64Mi), where neither it nor a MigrationPolicy says. Unset: no
    limit, for one that needs it knows its network."""
    max_downtime_ms: Annotated[int, Field(ge=1, le=2_000_000)] = 300
    """How long a guest may be stopped for its switch-over; QEMU's own default."""
    completion_timeout_per_gib_s: Annotated[int, Field(ge=1, le=86_400)] = 150
    """How long a copy may take for each GiB of memory, and at least for two; KubeVirt's default."""
    progress_timeout_s: Annotated[int, Field(ge=1, le=86_400)] = 150
    """How long a copy may go on without leaving less than ever before; KubeVirt's default."""
    allow_auto_converge: bool = False
    """Slow down guests that write faster than their memory is sent. Off: it costs the guest most of its speed."""
    allow_post_copy: bool = False
    """Move guests before their memory. Off: meanwhile they depend on two hosts."""
    allow_workload_disruption: bool = False
    """Stop guests for longer than max_downtime_ms where nothing else ends the copy. Off: it is felt."""
    arrive_paused: bool = False
    """Guests arrive stopped and are started once their source has ended its copy, so that they never run twice, whatever is
    lost at the switch-over. Off: each stands still for some tenths of a second longer, and needs a worker to go on."""
    worker_timeout_s: Annotated[float, Field(gt=0)] = 300
    """How long a Migration whose target is reserved waits for a worker that starts its process."""
    pair_failures: Annotated[int, Field(ge=1)] = 3
    """So many moves that failed because of a host or the way there keep Migrations off that pair of hosts for a while: one
    may be chance, and a second one bad luck."""
    pair_window_s: Annotated[float, Field(gt=0)] = 600
    """How far back they are counted; after that the pair is tried again."""
    migrations_kept_succeeded: Annotated[int, Field(ge=0)] = 10
    """Succeeded Migrations that are kept of each VirtualMachine, as a CronJob's successfulJobsHistoryLimit; its last weeks."""
    migrations_kept_failed: Annotated[int, Field(ge=0)] = 10
    """Failed ones, as failedJobsHistoryLimit: enough to see a pattern."""
    cpu_allocation_ratio: Annotated[float, Field(gt=0)] = 10
    """Virtual CPUs per physical one in a Node's allocatable."""
    lease_s: Annotated[float, Field(ge=9)] = 15
    """How long a silent worker keeps its hosts. Renewed at a third of it; a verb that
    starts or ends a guest wants 5 s of it left, so less than 9 would block them."""
    run_lease_s: Annotated[float, Field(ge=8)] = 8
    """How long a silent worker keeps its migrations: another follows them within ten seconds of its death. Renewed at a quarter
    of it; a verb wants 5 s of it left."""
    workers_absent_s: Annotated[float, Field(ge=1)] = 40
    """How long no worker may have been seen until writes that one would act on say so. Looked for eight times in it; a worker
    that is merely restarted is back before."""
    heartbeat_s: Annotated[float, Field(gt=0)] = 5
    """How often each host is asked whether it is well; Ready is told within three of them."""
    log_retention_s: Annotated[float, Field(ge=60)] = 600
    """How long a watcher may be away before it must list again (410). kube-apiserver's etcd keeps five minutes."""
    event_ttl_s: Annotated[float, Field(ge=60)] = 3600
    """How long Events are kept, kube-apiserver's --event-ttl."""
    history_retention_s: Annotated[float, Field(ge=60)] = 90 * 86_400
    """How long `drover history` tells of a Migration, whatever became of its object: a quarter."""
    audit_log: str | None = None
    """A file to which every write is appended as an Event of audit.k8s.io/v1, one JSON line each; `-` is standard output.
    Unset: none, since nobody reads what nobody asked for."""
    audit_reads: bool = False
    """Audit reads too. Off: they are many, and change nothing."""
    allowed_paths: tuple[str, ...] = ()
    """Prefixes of host paths that domains may use (disks, kernels, serial files); `namespace:/prefix` counts for guests of that
    namespace alone. Empty: none."""
    allowed_bridges: tuple[str, ...] = ()
    """Host bridges and libvirt networks that domains may use; `namespace:bridge` for that namespace alone."""
    allowed_emulators: tuple[str, ...] = ()
    """Emulator binaries that domains may name, perhaps as `namespace:/binary`. Empty: the host's own default only."""
    allowed_disk_hosts: tuple[str, ...] = ()
    """Servers of network disks (`ceph:6789`, or `ceph` for every port): hosts connect to them in a guest's name. Empty: none."""
    host_credentials: Path | None = None
    """A directory of sets of certificates and keys by which hosts are reached, each a folder: those that a Node's annotation
    kubevirt.io/credentials names, and `default` for the others. Unset: libvirt's own places, /etc/pki and ~/.ssh."""
    drain_s: Annotated[float, Field(gt=0)] = 25
    """How long a worker may finish its step after SIGTERM; below Kubernetes' 30 s."""
    log_requests: Literal["failed", "writes", "all"] = "failed"
    """Which requests are logged, each with its audit id, user, verb, resource, code and latency: those that failed because of us
    or took longer than 2 s; whatever changes something too; all."""
    log_format: Literal["console", "json"] = "console"
    """`console` for people, `json` for machines."""

    @property
    def secure(self) -> bool:
        """Whether the listener speaks TLS."""
        return self.tls

    @property
    def listen_port(self) -> int:
        """The port, or the usual one."""
        return self.port if self.port is not None else (8443 if self.secure else 8080)
