"""kubectl from the wheel beside this Python, never another one, with a home of its own: no cluster of the user's is touched."""

from __future__ import annotations

import asyncio
import sysconfig
from pathlib import Path
from typing import Any

import orjson

from app.kubeconfig import Way
from app.lab.errors import LabError

PATIENCE_S = 60.0


class Kubectl:
    """Speaks to one server."""

    def __init__(self, way: Way, home: Path) -> None:
        """Its kubeconfig is written into `home`."""
        self._program = Path(sysconfig.get_path("scripts")) / "kubectl"
        if not self._program.exists():
            raise LabError(f"{self._program} is missing: run `make setup`")
        way.write(home / "kubeconfig")
        self._environment = {"HOME": str(home), "KUBECONFIG": str(home / "kubeconfig"), "PATH": "/usr/bin:/bin"}

    async def __call__(self, *words: str) -> str:
        """What it printed. Raises LabError with what it complained of."""
        running = await asyncio.create_subprocess_exec(
            self._program, *words,
            env=self._environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE_S):
                printed, complained = await running.communicate()
        except TimeoutError:
            raise LabError(f"kubectl {' '.join(words)} did not end within {PATIENCE_S:.0f} s") from None
        finally:
            if running.returncode is None:
                running.kill()
        if running.returncode:
            raise LabError(f"kubectl {' '.join(words)}: {complained.decode().strip()}")
        return printed.decode()

    async def get(self, resource: str, name: str) -> dict[str, Any]:
        """The object."""
        document: dict[str, Any] = orjson.loads(await self("get", resource, name, "-o", "json"))
        return document
