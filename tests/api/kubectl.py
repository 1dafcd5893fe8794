"""The real kubectl, as a test types it."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

PROGRAM = Path(sys.executable).parent / "kubectl"
DEADLINE_S = 30.0


class Failed(AssertionError):
    """kubectl ended with another status than was expected."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl against one server."""

    home: Path
    started: list[Process] = field(default_factory=list)

    @classmethod
    def at(cls, url: str, home: Path) -> Kubectl:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "drover", "cluster": {"server": url}}],
            "contexts": [{"name": "drover", "context": {"cluster": "drover", "user": ""}}],
            "current-context": "drover",
        }
        (home / "config").write_text(json.dumps(config))
        return cls(home)

    async def __call__(
        self,
        *arguments: str,
        given: object = None,
        code: int = 0,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """What it prints, errors too; `given` goes to its standard input as JSON."""
        printed, ended = await self.run(*arguments, given=given, environment=environment)
        if ended != code:
            raise Failed(f"kubectl {' '.join(arguments)}: {ended}\n{printed}")
        return printed

    async def run(
        self, *arguments: str, given: object = None, environment: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[str, int]:
        """What it prints, and its exit status."""
        process = await self._start(*arguments, reading=given is not None, environment=environment)
        text = None if given is None else json.dumps(given).encode()
        async with asyncio.timeout(DEADLINE_S):
            printed, _ = await process.communicate(text)
        assert process.returncode is not None
        return printed.decode(), process.returncode

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self(*arguments, "-o", "json"))

    async def start(self, *arguments: str) -> Process:
        """One that goes on, to be read line by line; stopped with the test."""
        return await self._start(*arguments, reading=False)

    async def _start(
        self, *arguments: str, reading: bool, environment: Mapping[str, str] = MappingProxyType({})
    ) -> Process:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *arguments,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(self.home),
                "TMPDIR": str(self.home),
                "KUBECONFIG": str(self.home / "config"),
                **environment,
            },
            cwd=self.home,
            stdin=PIPE if reading else DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
        )
        self.started.append(process)
        return process

    async def stop(self) -> None:
        """Ends what still runs. May be called twice."""
        for process in self.started:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def line(process: Process) -> str:
    """The next line that it prints, without the spaces that make columns."""
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        return " ".join((await process.stdout.readline()).decode().split())


def rows(printed: str) -> list[list[str]]:
    """A printed table, heading first."""
    return [row.split() for row in printed.splitlines() if row.strip()]
