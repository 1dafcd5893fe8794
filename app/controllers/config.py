"""What an operator may tune of the hosts' side; wiring fills it from the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Kept:
    """How many finished Migrations are kept of each VirtualMachine."""

    succeeded: int = 10
    failed: int = 10


@dataclass(frozen=True, slots=True)
class HostConfig:
    """Seconds and ratios."""

    heartbeat_s: float = 5.0
    """How often each host is asked, and within how long it must answer."""
    patience_s: float = 3.0
    """How long a host that refuses connections is given before it is not Ready: a restart of libvirtd takes less."""
    sweep_s: float = 30.0
    """How often a host's leftovers are looked for, and all of its guests looked at."""
    peer_look_s: float = 5.0
    """How often it is looked for other hosts whose way from this one is to be asked for."""
    peer_pause_s: float = 0.2
    """Between one and the next: a fleet of a thousand hosts is asked for within minutes, by no burst."""
    peer_good_s: float = 3600.0
    """How long a host that was reached is believed to be reached."""
    peer_bad_s: float = 30.0
    """After how long one that was not reached is asked for again."""
    peer_answer_s: float = 8.0
    """How long an answer is waited for before the next is asked for. It may still come: see Peers."""
    expiry_s: float = 600.0
    """How often certificates are looked at."""
    expiry_again_s: float = 60.0
    """And after they could not be seen."""
    share_s: float = 1.0
    """How often the processes share the hosts out."""
    unserved_s: float = 10.0
    """After how long a Node that no process serves is Unknown."""
    path_problem: Callable[[str, str], str | None] | None = None
    """Why a guest of that namespace may not use that path of its host, None where it may. Unset: images are not asked what
    they are layered on."""
    cpu_ratio: float = 10.0
    """Virtual CPUs for each physical one."""
    takeover_s: float = 40.0
    """How long after a lapsed lease no guest is started or ended: the host closes a frozen holder's connection sooner."""
    garbage_s: float = 60.0
    """How often orphans and old Events are looked for, and the log is compacted."""
    event_ttl: timedelta = timedelta(hours=1)
    """How long Events are kept, as in Kubernetes."""
    log_retention: timedelta = timedelta(minutes=10)
    """How long a watcher may be away before it must list again."""
    log_keep: int = 1000
    """Log entries that are kept however old they are."""
    history_retention: timedelta = timedelta(days=90)
    """How long it is remembered what became of Migrations, and who asked for them."""
    kept: Kept = field(default_factory=Kept)
    """The history of Migrations."""
