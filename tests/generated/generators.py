"""The two generators, as a user runs them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

PROGRAMS = Path(sys.executable).parent
DEADLINE_S = 240
"""For a machine that is busy; alone each takes a few seconds."""


@dataclass(frozen=True)
class Generated:
    """A client as Python modules, and what its generator complained of."""

    package: str
    complaints: tuple[str, ...]

    def module(self, path: str) -> ModuleType:
        return importlib.import_module(f"{self.package}.{path}")

    def models(self) -> dict[str, Any]:
        """The classes by their names in the document, without dots and in small letters."""
        module = self.module("models")
        return {name.lower(): getattr(module, name) for name in dir(module) if name[:1].isupper()}

    def model(self, schema: str) -> Any:
        """The class of a schema."""
        return self.models()[class_key(schema)]


def class_key(schema: str) -> str:
    return schema.replace(".", "").lower()


def by_openapi_python_client(document: Path, folder: Path, package: str) -> Generated:
    """Of an OpenAPI v3 document; the package lies in the folder, which is on the path while the tests run."""
    said = _run(
        "openapi-python-client", "generate", "--path", document, "--meta", "none", "--output-path", folder / package
    )
    return Generated(package, tuple(line for line in said.splitlines() if _complains(line)))


def by_openapi_generator(document: Path, folder: Path, package: str) -> Generated:
    """Of any document; the package lies in the folder among much else."""
    said = _run(
        "openapi-generator-cli", "generate", "-g", "python", "-i", document, "-o", folder, "--package-name", package
    )
    return Generated(package, tuple(line for line in said.splitlines() if _complains(line)))


def _run(program: str, *words: str | Path) -> str:
    """All that it says. A formatter that is not installed is none of a client's business: it may be, and is found."""
    env = {"PATH": f"{PROGRAMS}:/usr/bin:/bin", "HOME": "/nonexistent"}
    done = subprocess.run(
        [PROGRAMS / program, *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=env,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _complains(line: str) -> bool:
    """Each generator's own way to say what it could not do."""
    return any(
        word in line for word in ("WARN ", "ERROR", "Unsupported", "Unable to process", "has resulted in the removal")
    )
