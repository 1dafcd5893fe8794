"""What breaks a post-copy."""

from __future__ import annotations

import asyncio
from contextlib import closing
from uuid import UUID

import libvirt


async def break_post_copy(uri: str, guest: UUID) -> None:
    """By libvirt itself: Drover never does that to a healthy one. At once, for on a quick link it is soon over."""

    def break_it() -> None:
        with closing(libvirt.open(uri)) as connection:
            connection.lookupByUUID(guest.bytes).abortJobFlags(libvirt.VIR_DOMAIN_ABORT_JOB_POSTCOPY)

    await asyncio.to_thread(break_it)
