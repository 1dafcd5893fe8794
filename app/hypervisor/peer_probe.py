"""What is left of a question whether one host's libvirt reaches another's: a definition whose name tells when it was made."""

from __future__ import annotations

from uuid import UUID

from app.hypervisor.base import Domain, State

_PREFIX = "drover-probe-"
LEFT_OVER_S = 180.0
"""So old a definition was left by a process that died, or lost its connection, before the answer came: it lives for some
10 ms, or where the peer is silent until TCP gives up, and nobody waits for the answer longer than 150 s."""


def probe_name(uuid: UUID, at_s: float) -> str:
    """`at_s`: seconds since 1970."""
    return f"{_PREFIX}{int(at_s):x}-{uuid.hex[:8]}"


def is_left_over(domain: Domain, at_s: float) -> bool:
    """Whether nobody waits for that question's answer any more."""
    if domain.state is not State.SHUTOFF or not domain.name.startswith(_PREFIX):
        return False
    made_at = domain.name.removeprefix(_PREFIX).partition("-")[0]
    try:
        return at_s - int(made_at, 16) > LEFT_OVER_S
    except ValueError:
        return False
