"""Images that the guest only reads (CDs, cloud-init's): brought to the target through this process, before anything moves.

libvirt copies no disk that is only read. The target's own file of that path is used where it has the same bytes; else the image
becomes a new file there. Never over another file.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from app.controllers.migration.end import End
from app.controllers.migration.move import Move
from app.controllers.migration.plan import Copy
from app.hypervisor import domain_xml
from app.hypervisor.base import Refused

_MIB = 2**20


async def brought(move: Move) -> Mapping[str, str]:
    """By disk, the new files. Raises HypervisorError, and LeaseLapsed; then the target has none of those that are unfinished."""
    paths = {}
    for image in move.plan.images:
        size = await move.source.ask(lambda host, image=image: host.find_file(image.source_path))  # type: ignore[misc]
        if size is None:
            await _ensure_not_missed(move, image)
            continue
        if await _has_the_same(move, image, size):
            move.say(f"{image.disk}: {move.target.node} has the same {image.source_path}")
            continue
        await _bring(move, image, size)
        paths[image.disk] = image.target_path
    return paths


async def _ensure_not_missed(move: Move, image: Copy) -> None:
    """An image that was taken away behind the running guest can be brought from nowhere. libvirt goes on where the target has a
    file of that path, where the drive may be empty, and where it is by now. Raises Refused."""
    if await move.target.ask(lambda host: host.find_file(image.source_path)) is not None:
        return
    xml = await move.source.ask(lambda host: host.definition(move.plan.domain))
    if not any(disk.path == image.source_path and not disk.optional for disk in domain_xml.read(xml).disks):
        return
    raise Refused(
        f"{image.disk}: {image.source_path} is no longer on {move.source.node}, and {move.target.node} has none: put it back,"
        f" or eject it (virsh change-media {move.plan.domain} {image.disk} --eject)"
    )


async def _has_the_same(move: Move, image: Copy, size: int) -> bool:
    """A file of that name and size may be another one: so every byte of it counts."""
    there = await move.target.ask(lambda host: host.find_file(image.source_path))
    if there != size:
        return False
    ours, theirs = await asyncio.gather(*(_digest(move, end, image.source_path) for end in (move.source, move.target)))
    return ours == theirs


async def _digest(move: Move, end: End, path: str) -> bytes:
    digest = hashlib.sha256()
    async for chunk in _read(move, end, path):
        digest.update(chunk)
    return digest.digest()


async def _bring(move: Move, image: Copy, size: int) -> None:
    await move.orders.leave_to_act()
    if not move.fresh:
        # What a former process of this attempt made is made anew: it bears the attempt's name.
        await move.target.ask(lambda host: host.remove_disk(image.target_path))
    move.say(f"{image.disk}: {size / _MIB:.1f} MiB of {image.source_path} go to {image.target_path}")
    async with aclosing(_read(move, move.source, image.source_path)) as content:
        await move.target.ask(lambda host: host.write_file(image.target_path, size, _paced(move, content)))


async def _read(move: Move, end: End, path: str) -> AsyncGenerator[bytes, None]:
    """Raises Refused when the move is called off, and LeaseLapsed."""
    async with aclosing((await end.host()).read_file(path)) as content:
        async for chunk in content:
            if move.orders.cancelled.is_set() or move.abandoned.is_set():
                raise Refused("the move was called off")
            await move.orders.leave_to_steer()
            yield chunk


async def _paced(move: Move, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Not faster than the migration itself may be."""
    loop, sent = asyncio.get_running_loop(), 0
    began = loop.time()
    async for chunk in content:
        yield chunk
        sent += len(chunk)
        if move.plan.bandwidth:
            await asyncio.sleep(max(0.0, sent / move.plan.bandwidth - (loop.time() - began)))
