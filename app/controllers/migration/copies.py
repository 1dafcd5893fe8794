"""Disks that only the source reaches: made empty on the target, and copied with the guest's memory. Never over another file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from app.controllers.migration.move import Move
from app.hypervisor import domain_xml
from app.hypervisor.base import Destination, Refused, Unsafe
from app.hypervisor.domain_xml import BadXml

Send = Callable[[Destination], Awaitable[None]]
"""Asks libvirt to move the guest there. Raises HypervisorError."""
_MIB = 2**20


async def with_disks(move: Move, to: Destination, send: Send) -> None:
    """libvirt is asked first whether the hosts share the disks that nobody declared shared: it knows network file systems,
    and refuses before anything moves. Raises HypervisorError, and LeaseLapsed."""
    if not move.plan.copies:
        return await send(to)
    try:
        return await send(replace(to, unsafe=False))
    except Unsafe:
        move.say("the hosts do not share the guest's disks: they are copied")
    await _make(move)
    return await send(await _with_copies(move, to))


async def were_copied(move: Move) -> bool | None:
    """Whether the guest on the target uses the new files; None where there is nothing to ask. Raises HypervisorError."""
    if not move.plan.copies:
        return None
    xml = await move.target.ask(lambda host: host.definition(move.plan.domain))
    paths = {disk.path for disk in domain_xml.read(xml).disks}
    return any(copy.target_path in paths for copy in move.plan.copies)


async def _make(move: Move) -> None:
    """What a former process of this attempt made is made anew: it bears the attempt's name, and nobody wrote to it."""
    plan = move.plan
    sizes = await move.source.ask(lambda host: host.disk_sizes(plan.domain))
    for copy in plan.copies:
        size = sizes.get(copy.disk)
        if size is None:
            raise Refused(f"the guest has no disk {copy.disk} any more")
        await move.orders.leave_to_act()
        if not move.fresh:
            await move.target.ask(lambda host, path=copy.target_path: host.remove_disk(path))  # type: ignore[misc]
        await move.target.ask(
            lambda host, copy=copy, size=size: host.make_disk(copy.target_path, copy.format, size)  # type: ignore[misc]
        )
        move.say(f"{copy.disk}: {size / _MIB:.0f} MiB of {copy.source_path} go to {copy.target_path} ({copy.format})")


async def _with_copies(move: Move, to: Destination) -> Destination:
    """The guest's definition as the target should have it, which names the new files."""
    plan = move.plan
    xml = await move.source.ask(lambda host: host.definition(plan.domain))
    try:
        there = domain_xml.for_target(xml, disks={copy.disk: copy.target_path for copy in plan.copies})
    except BadXml as error:
        raise Refused(f"the guest's definition {error}") from error
    disks = tuple(copy.disk for copy in plan.copies)
    return replace(to, domain_xml=there, disks=disks, disks_uri=plan.disks_uri)
