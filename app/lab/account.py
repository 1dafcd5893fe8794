"""The ordinary user that runs the lab's hosts."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from app.lab.errors import LabError


@dataclass(frozen=True, slots=True)
class Account:
    """libvirtd in session mode wants one with a passwd entry, and never root."""

    name: str
    uid: int
    gid: int

    @property
    def is_me(self) -> bool:
        return self.uid == os.geteuid()

    def give(self, path: Path) -> None:
        """Make it the owner, without following links; nothing to do for one's own files."""
        if not self.is_me:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def ordinary() -> Account:
    """Whoever runs this, and `nobody` for root."""
    try:
        entry = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise LabError(f"user {os.geteuid() or 'nobody'} has no entry in /etc/passwd, and libvirtd needs one") from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
