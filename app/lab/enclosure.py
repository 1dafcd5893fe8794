"""Namespaces of the kernel, held by one process that ends with us."""

from __future__ import annotations

import signal
import subprocess

from app.lab import processes
from app.lab.errors import LabError
from app.lab.processes import Process
from app.lab.programs import program


class Enclosure:
    """The first process of a set of namespaces. While it lives they do; it ends with its standard input."""

    def __init__(self, script: str, *, within: Enclosure | None = None) -> None:
        enter = [] if within is None else [program("nsenter"), f"--target={within.pid}", "--pid", "--"]
        unshare = [program("unshare"), "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc"]
        self._outer = subprocess.Popen(
            [*enter, *unshare, "--kill-child=KILL", "--", program("sh"), "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._started = self._await_ready()

    @property
    def pid(self) -> int:
        return self._started.pid

    def command(self, *words: str) -> list[str]:
        """What runs that command inside, with its network, mounts, names and processes."""
        return [program("nsenter"), f"--target={self.pid}", "--net", "--mount", "--uts", "--ipc", "--pid", "--", *words]

    def run(self, *words: str) -> str:
        """Its standard output. Raises LabError with what it complained of."""
        return _run(*self.command(*words))

    def ip(self, *words: str) -> None:
        """`ip`, in its network alone, so that pids are those of this process."""
        _run(program("nsenter"), f"--net=/proc/{self.pid}/ns/net", "--", program("ip"), *words)

    def processes(self, name: str) -> list[Process]:
        """Those of a program in its network."""
        return processes.inside(name, self.pid)

    def end(self) -> None:
        """Everything inside is over on return. Twice is harmless."""
        assert self._outer.stdin is not None and self._outer.stdout is not None and self._outer.stderr is not None
        self._outer.stdin.close()
        try:
            self._outer.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._started.send(signal.SIGKILL)
            self._outer.wait(timeout=10)
        self._outer.stdout.close()
        self._outer.stderr.close()

    def _await_ready(self) -> Process:
        assert self._outer.stdout is not None and self._outer.stderr is not None
        if self._outer.stdout.readline() != b"ready\n":
            complaint = self._outer.stderr.read().decode(errors="replace").strip()
            self._outer.wait()
            raise LabError(f"namespaces were not made: {complaint}")
        return processes.innermost(self._outer.pid)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(words)} failed: {done.stderr.strip()}")
    return done.stdout
