"""Files that an operator may change while Drover runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class FileError(Exception):
    """A file cannot be used; the text is one line, and shows no secret of it."""


class KeptFile:
    """One whose text is taken again when it was written or replaced."""

    def __init__(self, path: Path, holds: str, take: Callable[[str], None]) -> None:
        """Reads it. `holds` are words for the log. `take` raises FileError for a text that it cannot use, and changes nothing
        then. Raises FileError, which names the path."""
        self.holds = holds
        self._path = path
        self._take = take
        self._stamp: object = None
        self.refresh()

    def refresh(self) -> bool:
        """Whether there was something new. Raises FileError, and changes nothing."""
        try:
            seen = self._path.stat()
            stamp = (seen.st_ino, seen.st_size, seen.st_mtime_ns)
            if stamp == self._stamp:
                return False
            text = self._path.read_text()
        except (OSError, ValueError) as error:
            raise FileError(f"cannot read {self._path}: {error}") from error
        try:
            self._take(text)
        except FileError as error:
            raise FileError(f"{self._path}: {error}") from error
        self._stamp = stamp
        return True
