"""
The named steps of one attempt, as its worker writes them into its log: where a migration was when something happened.

    claimed ─▶ preparing ─▶ marked ─▶ called ─▶ copying ─▶ switching ─▶ arrived ─▶ settling ─▶ known ─▶ finished
       │                                         └─▶ post-copy ─▶ arrived
       └─▶ taken-over ─▶ … wherever the hosts say that it is

Nothing is decided by them. A step is told once by a process, when it begins; `switching` and `arrived` when the host tells.
"""

from __future__ import annotations

from enum import StrEnum


class Step(StrEnum):
    """In their usual order."""

    CLAIMED = "claimed"
    """A worker holds the run; its process is not there yet."""
    PREPARING = "preparing"
    """The process asks both hosts whether the guest may be moved."""
    TAKEN_OVER = "taken-over"
    """A process that is not the run's first asks both hosts where the guest is."""
    MARKED = "marked"
    """The guest bears the attempt's mark; libvirt was not called yet."""
    CALLED = "called"
    """libvirt is asked to move the guest."""
    COPYING = "copying"
    """Bytes of the guest have left the source."""
    POST_COPY = "post-copy"
    """The guest runs on the target, and fetches the rest of its memory."""
    SWITCHING = "switching"
    """The guest is stopped on the source."""
    ARRIVED = "arrived"
    """The guest runs on the target; the source's copy may still be there."""
    SETTLING = "settling"
    """libvirt's call has ended, however: both hosts are asked."""
    KNOWN = "known"
    """Both hosts have said where the guest is; the process ends."""
    FINISHED = "finished"
    """The worker has the outcome, and writes it."""
