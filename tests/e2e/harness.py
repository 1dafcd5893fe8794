"""A whole Drover as a user runs it: `drover serve` and `drover lab up` as processes, spoken to over HTTP and by kubectl.

Where a guest is, is learned from the QEMU processes of this lab, never from Drover.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.lab.hosts import LabHosts
from app.store.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
DROVER = (sys.executable, "-m", "app.main")
KUBEVIRT = "/apis/kubevirt.io/v1alpha1"
KUBECTL = Path(sys.executable).parent / "kubectl"


def environment(home: Path) -> dict[str, str]:
    """A clean environment: nobody's kubeconfig, nobody's DROVER_* variables."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        # What libvirt learned of this machine's QEMU, and the guest's kernel: seconds, each time they are not found.
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
    }


def eventually(what: str, look: Callable[[], Any], timeout_s: float = 30, every_s: float = 0.05) -> Any:
    """The first true answer of `look`, or a failure that says what never came and what was seen last."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s; last seen: {seen!r}"
        time.sleep(every_s)


@dataclass(frozen=True)
class Qemu:
    """A QEMU process of the lab: which host started it, and which guest it holds."""

    pid: int
    node: str
    uuid: str


def qemus(lab: Path, uuid: str) -> list[Qemu]:
    """The QEMU processes that hold the guest, from /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended while we looked
        line = " ".join(words)
        if "qemu-system" in words[0] and uuid in line and str(lab) in line:
            node = re.search(re.escape(str(lab)) + r"/(?:hosts/)?(node\d+)/", line)
            found.append(Qemu(int(entry.name), node.group(1) if node else "?", uuid))
    return found


def definers(lab: Path, uuid: str) -> list[str]:
    """The hosts of the lab that know the guest, running or only defined, by virsh."""
    return [
        host.name
        for host in LabHosts.of(lab)
        if uuid
        in subprocess.run(
            ["virsh", "-q", "-c", host.uri, "list", "--all", "--uuid"], capture_output=True, text=True, timeout=20
        ).stdout
    ]


@dataclass
class Drover:
    """One `drover serve` and its lab."""

    directory: Path
    lab: Path
    log: Path
    url: str = ""
    process: subprocess.Popen[str] | None = None
    flags: tuple[str, ...] = ()
    """Without --tls it speaks plain HTTP, and takes whoever comes for the administrator."""
    env: dict[str, str] = field(default_factory=dict)
    workers: list[subprocess.Popen[str]] = field(default_factory=list)
    """`drover work` beside it, on the same database."""

    def start(self, port: int = 0) -> None:
        open_to_all = () if "--tls" in self.flags else ("--no-tls", "--trust-loopback")
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*DROVER, "serve", "--port", str(port), "--data-dir", str(self.directory / "data"),
                 "--lab-dir", str(self.lab), *open_to_all, *self.flags],
                cwd=ROOT, env=self.env, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip
        self.url = self._announced(self.process, "serves ")

    def start_worker(self, *before: str) -> None:
        """One more `drover work`, in a session of its own: its migration processes are in it too. `before` is what runs it."""
        variables = {"DROVER_DATABASE_URL": EmbeddedPostgres(self.directory / "data").url}
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [*before, *DROVER, "work"], cwd=ROOT, env=self.env | variables,
                stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip
        self.workers.append(process)
        self._announced(process, "works")

    def stop_workers(self) -> None:
        """SIGTERM, and SIGKILL to those that do not end."""
        for process in self.workers:
            process.terminate()
        for process in self.workers:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self.workers.clear()

    def _announced(self, process: subprocess.Popen[str], word: str) -> str:
        """What follows that word on the line where the process says that it is there."""
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and process.poll() is None:
                if selector.select(timeout=0.2):
                    line = process.stdout.readline()
                    if word in line:
                        return line.split(word)[1].strip()
        raise AssertionError(f"drover did not start; {self.last_words()}")

    @property
    def kubeconfig(self) -> str:
        """The file that it wrote."""
        return str(self.directory / "data" / "kubeconfig")

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """SIGKILL, to the process alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def lab_up(self, nodes: int) -> None:
        self.command("lab", "up", "--nodes", str(nodes), "--lab-dir", str(self.lab), *self._way())
        eventually("every node is Ready", lambda: len(self.ready_nodes()) == nodes)

    def lab_down(self) -> None:
        self.command("lab", "down", "--lab-dir", str(self.lab), *self._way())

    def _way(self) -> tuple[str, str]:
        """To the service; nowhere, if it never started."""
        return (
            ("--kubeconfig", self.kubeconfig) if Path(self.kubeconfig).exists() else ("--server", "http://127.0.0.1:1")
        )

    def command(self, *words: str) -> str:
        done = subprocess.run([*DROVER, *words], cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"drover {' '.join(words)}: {done.stdout}{done.stderr}\n{self.last_words()}"
        return done.stdout

    def last_words(self) -> str:
        """The end of the service's log, for a failure's message."""
        return f"the service's log ends:\n{self.log.read_text()[-3000:]}"

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(KUBECTL), "--server", self.url, *words],
            env=self.env, input=stdin, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}"
        return done

    # The API over plain HTTP.

    def request(self, method: str, path: str, body: Any = None, *, kind: str | None = None) -> httpx.Response:
        headers = {"Content-Type": kind} if kind else {}
        content = None if body is None else json.dumps(body)
        return httpx.request(method, self.url + path, content=content, headers=headers, timeout=30)

    def get(self, path: str) -> dict[str, Any]:
        answer = self.request("GET", path)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def ready_nodes(self) -> list[str]:
        nodes = self.get("/api/v1/nodes")["items"]
        return [
            node["metadata"]["name"]
            for node in nodes
            for condition in (node.get("status") or {}).get("conditions", [])
            if condition["type"] == "Ready" and condition["status"] == "True"
        ]

    def vm(self, name: str) -> dict[str, Any]:
        return self.get(f"{KUBEVIRT}/namespaces/default/virtualmachines/{name}")

    def node_of(self, name: str) -> str:
        """Where the guest is, by its QEMU process."""
        holders = qemus(self.lab, self.vm(name)["metadata"]["uid"])
        assert len(holders) == 1, f"{name} is held by {holders}"
        return holders[0].node

    def migration(self, name: str) -> dict[str, Any]:
        return self.get(f"{KUBEVIRT}/namespaces/default/migrations/{name}")

    def phase(self, name: str) -> str:
        return str((self.migration(name).get("status") or {}).get("phase", ""))

    def migrate(self, vm: str, name: str, **spec: Any) -> None:
        body = {
            "apiVersion": "kubevirt.io/v1alpha1", "kind": "Migration", "metadata": {"name": name},
            "spec": {"selector": {"name": vm}, **spec},
        }  # fmt: skip
        answer = self.request("POST", f"{KUBEVIRT}/namespaces/default/migrations", body)
        assert answer.status_code == 201, answer.text

    def finished(self, name: str, timeout_s: float = 60) -> dict[str, Any]:
        """The Migration once it is Succeeded or Failed."""
        eventually(f"migration {name} ends", lambda: self.phase(name) in ("Succeeded", "Failed"), timeout_s)
        return self.migration(name)

    def pods(self, selector: str) -> list[dict[str, Any]]:
        listed = self.request("GET", f"/api/v1/namespaces/default/pods?labelSelector={selector}")
        assert listed.status_code == 200, listed.text
        items: list[dict[str, Any]] = listed.json()["items"]
        return items

    def events(self, kind: str, name: str) -> list[str]:
        """The Events about an object, as `reason: message`."""
        listed = self.get(
            f"/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind={kind},involvedObject.name={name}"
        )
        return [f"{event['reason']}: {event['message']}" for event in listed["items"]]

    def told(self, kind: str, name: str, word: str) -> bool:
        """Whether an Event about the object says so."""
        return any(word in event for event in self.events(kind, name))


@contextmanager
def drover(
    directory: Path, lab: Path, nodes: int, *flags: str, workers: int = 0, more: Mapping[str, str] | None = None
) -> Iterator[Drover]:
    """A Drover with a lab of that many hosts, and so many `drover work` beside it; all are stopped on the way out, also
    after a failure."""
    home = directory / "home"
    home.mkdir(parents=True, exist_ok=True)
    service = Drover(directory, lab, directory / "drover.log", flags=flags, env=environment(home) | dict(more or {}))
    try:
        service.start()
        for _ in range(workers):
            service.start_worker()
        service.lab_up(nodes)
        yield service
    finally:
        # The service first: what it would wait for (a guest that might still be somebody's) goes with its host.
        service.stop_workers()
        if service.process is not None and service.process.poll() is None:
            service.stop()
        service.lab_down()
