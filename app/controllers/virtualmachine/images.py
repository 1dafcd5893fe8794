"""What a new guest's images are layered on, asked of the host before it opens them: only files that the operator allows.

The definition was judged when it was created; what an image says in its own head is known only on the host.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from contextlib import aclosing

from app.hypervisor.base import Hypervisor, Refused
from app.hypervisor.domain_facts import DomainFacts
from app.hypervisor.image_header import HEAD, BadImage, Head, read_head

MOST_LAYERS = 64
PathProblem = Callable[[str], str | None]
"""Why a path may not be used; None where it may."""


async def check_layers(host: Hypervisor, facts: DomainFacts, problem: PathProblem) -> None:
    """Raises Refused, naming the disk and the file, and whatever the host raises."""
    for disk in facts.disks:
        if disk.type == "file" and disk.path and disk.format == "qcow2":
            await _check(host, disk.target, disk.path, problem)


async def _check(host: Hypervisor, disk: str, path: str, problem: PathProblem) -> None:
    for _ in range(MOST_LAYERS):
        head = await _head(host, disk, path)
        named = [posixpath.join(posixpath.dirname(path), name) for name in (head.data, head.backing) if name]
        for other in named:
            if why := problem(other):
                raise Refused(f"disk {disk}: image {path} needs {other}: {why}")
        if head.backing and head.backing_format not in ("raw", "qcow2"):
            raise Refused(f"disk {disk}: image {path} does not say that what it is layered on is raw or qcow2")
        if head.backing_format != "qcow2":
            return
        path = named[-1]
    raise Refused(f"disk {disk}: more than {MOST_LAYERS} layers")


async def _head(host: Hypervisor, disk: str, path: str) -> Head:
    head = b""
    async with aclosing(host.read_file(path)) as content:
        async for chunk in content:
            head += chunk
            if len(head) >= HEAD:
                break
    try:
        return read_head(head[:HEAD])
    except BadImage as wrong:
        raise Refused(f"disk {disk}: {path} {wrong}") from wrong
