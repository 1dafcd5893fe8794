"""What every lab is: hosts by name below one folder, a context that leaves nothing behind."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

Host = TypeVar("Host")


class Standing(ABC, Generic[Host]):
    """Hosts below one folder. A context: all is up within, and gone afterwards."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._hosts: dict[str, Host] = {}

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def images(self) -> Path:
        """Kernels and disks: seen by every host at the same path, written by whoever made the lab."""
        return self.directory / "images"

    @property
    def consoles(self) -> Path:
        """Where guests write their serial consoles: one folder for all hosts, so that a log outlives a move."""
        return self.directory / "consoles"

    @abstractmethod
    def start(self) -> None:
        """Brings up what does not run. Raises LabError, saying what would help."""

    @abstractmethod
    def remove(self) -> None:
        """No process and no file is left. Twice is harmless."""


def listens(path: Path) -> bool:
    """Whether somebody accepts connections on a unix socket, within a second."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, TimeoutError):
            return False
    return True
