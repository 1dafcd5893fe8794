"""Disks that only the source reaches: made empty on the target, and copied with the guest's memory. Never over another file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from app.controllers.migration.images import brought
from app.controllers.migration.messages import Noticed
from app.controllers.migration.move import Move
from app.hypervisor import domain_xml
from app.hypervisor.base import Destination, Refused, Unsafe
from app.hypervisor.domain_xml import BadXml

Send = Callable[[Destination], Awaitable[None]]
"""Asks libvirt to move the guest there. Raises HypervisorError."""
_MIB = 2**20


async def with_disks(move: Move, to: Destination, send: Send) -> None:
    """Images that are only read are brought first. libvirt is asked whether the hosts share the disks that nobody declared
    shared: it knows network file systems, and refuses before anything moves. Raises HypervisorError, and LeaseLapsed."""
    images = await brought(move)
    if images:
        to = replace(to, domain_xml=await _definition(move, images))
    if not move.plan.copies:
        return await send(to)
    try:
        return await send(replace(to, unsafe=False))
    except Unsafe:
        move.say("the hosts do not share the guest's disks: they are copied")
    await _make(move)
    text = ", ".join(f"{copy.disk} to {copy.target_path}" for copy in move.plan.copies)
    move.tell(Noticed(reason="CopyingDisks", message=f"the hosts do not share these disks, so they are copied: {text}"))
    return await send(await _with_copies(move, to, images))


async def copied(move: Move) -> list[str] | None:
    """Disks for which the guest on the target uses the new files; None where there is nothing to ask. Raises HypervisorError."""
    planned = (*move.plan.copies, *move.plan.images)
    if not planned:
        return None
    xml = await move.target.ask(lambda host: host.definition(move.plan.domain))
    paths = {disk.path for disk in domain_xml.read(xml).disks}
    return [each.disk for each in planned if each.target_path in paths]


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


async def _with_copies(move: Move, to: Destination, images: Mapping[str, str]) -> Destination:
    copies = {copy.disk: copy.target_path for copy in move.plan.copies}
    there = await _definition(move, {**images, **copies})
    return replace(to, domain_xml=there, disks=tuple(copies), disks_uri=move.plan.disks_uri)


async def _definition(move: Move, disks: Mapping[str, str]) -> str:
    """The guest's, as the target should have it: it names the new files."""
    xml = await move.source.ask(lambda host: host.definition(move.plan.domain))
    try:
        return domain_xml.for_target(xml, disks=disks)
    except BadXml as error:
        raise Refused(f"the guest's definition {error}") from error
