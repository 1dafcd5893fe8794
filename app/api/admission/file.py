"""The file of the policies, read again when it changes."""

from __future__ import annotations

from pathlib import Path

from app.api.admission.judge import Admission
from app.api.admission.policies import PolicyError, bound_policies


class PolicyFile:
    """Keeps its `admission` up to date."""

    holds = "admission policies"

    def __init__(self, path: Path) -> None:
        """Raises PolicyError."""
        self._path = path
        self._stamp: object = None
        self.admission = Admission()
        self.refresh()

    def refresh(self) -> bool:
        """Reads the file again if it was written or replaced. Raises PolicyError, and changes nothing."""
        try:
            seen = self._path.stat()
            stamp = (seen.st_ino, seen.st_size, seen.st_mtime_ns)
            if stamp == self._stamp:
                return False
            text = self._path.read_text()
        except (OSError, ValueError) as error:
            raise PolicyError(f"cannot read {self._path}: {error}") from error
        try:
            self.admission.replace(bound_policies(text))
        except PolicyError as error:
            raise PolicyError(f"{self._path}: {error}") from error
        self._stamp = stamp
        return True
