"""
Every wait of a Migration has an end. This is the one list of them; each row is held by a test of the same name.

    while it is                 it waits for                    at most                          then
    ""                          a controller                    a lease (15 s) after one runs    it is looked at
    Pending                     a slot                          `queue`                          Failed/QueueTimeout
    Scheduling                  a node that fits                `unschedulable`                  Failed/Unschedulable
    Scheduling                  a slot on a node that fits      `queue`                          Failed/QueueTimeout
    Running                     a worker that takes the run     `claim`                          Failed/NoWorker
    Running                     anything                        spec.activeDeadlineSeconds       aborted, Failed/DeadlineExceeded
    Running, Retrying           its time                        `retry_after`, 10 s to 6 min     the next attempt
    Running, Retrying           a node or a slot                as Scheduling                    as Scheduling
    Running, its process silent a word of it                    the worker's `silence_s`         it is ended, both hosts are asked
    Running, its worker gone    another one                     the lease, 15 s                  it is taken over
    Running, to be stopped      the hosts                       libvirt's keepalive, 30 s        Failed, or Succeeded: too late
    Running, Held               the host that must be asked     no limit: only it knows          an Event every `held_told`
    Failed, target pod left     the target's word               it answers for 60 s              the pod goes
    Succeeded, Failed           nothing                         spec.ttlSecondsAfterFinished     the object goes

How long a copy may take, and what is done with one that does not end, is the process's own to judge. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

FIRST_RETRY = timedelta(seconds=10)
LONGEST_RETRY = timedelta(minutes=6)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a Migration waits."""

    queue: timedelta = timedelta(hours=1)
    """For a slot."""
    unschedulable: timedelta = timedelta(minutes=5)
    """For a node that fits."""
    claim: timedelta = timedelta(minutes=5)
    """For a worker, once a target is reserved."""
    held_told: timedelta = timedelta(minutes=5)
    """Between two Events that say that it is held."""


def retry_after(attempts: int) -> timedelta:
    """Between the end of that many attempts and the next: as the Job controller's, 10 s, doubled each time, up to 6 min."""
    return min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(attempts - 1, 16))
