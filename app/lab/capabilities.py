"""What libvirt learned about QEMU, kept between labs: finding out costs each new host seconds of a processor."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from app.lab.account import Account
from app.lab.kernel import cache_folder

BELOW_CACHE = Path("libvirt/qemu/cache/capabilities")
"""Below a session's XDG_CACHE_HOME."""
LARGEST = 1 << 20


def lend(place: Path, kind: str = "session") -> None:
    """Give a new host what earlier ones of its kind learned, in the folder where its libvirt looks. libvirt judges by
    QEMU's and its own build, and the kernel, whether that still holds."""
    place.mkdir(parents=True, mode=0o700)
    for file in _kept(kind).glob("*.xml"):
        (place / file.name).write_bytes(file.read_bytes())


def keep(place: Path, account: Account, kind: str = "session") -> None:
    """Keep what a host learned. Only the hosts' user's own files are read: it could have laid links to others'."""
    kept = _kept(kind)
    for file in place.glob("*.xml"):
        learned = _own(file, account)
        if learned and not _same(kept / file.name, learned):
            descriptor, unfinished = tempfile.mkstemp(dir=kept)
            with os.fdopen(descriptor, "wb") as written:
                written.write(learned)
            Path(unfinished).replace(kept / file.name)


def _kept(kind: str) -> Path:
    folder = cache_folder() / ("capabilities" if kind == "session" else f"capabilities-{kind}")
    folder.mkdir(exist_ok=True)
    return folder


def _own(file: Path, account: Account) -> bytes:
    """Its bytes; none for what is a link, somebody else's, too large, or just being replaced."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as opened:
        seen = os.fstat(descriptor)
        is_own = stat.S_ISREG(seen.st_mode) and seen.st_uid == account.uid and seen.st_size <= LARGEST
        return opened.read() if is_own else b""


def _same(file: Path, content: bytes) -> bool:
    return file.exists() and file.read_bytes() == content
