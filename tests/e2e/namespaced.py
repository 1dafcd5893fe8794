"""A Drover whose nodes are hosts in network namespaces: with addresses, cables and certificates."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.lab.guest import linux_images, linux_xml, virtual_machine
from app.lab.meter import Meter
from app.lab.namespaces import BRIDGE, NamespaceHost, NamespaceLab
from app.lab.programs import program
from tests.e2e.harness import KUBEVIRT, Drover, environment, eventually


@dataclass(frozen=True)
class Site:
    """Both, and what a test asks of them."""

    drover: Drover
    lab: NamespaceLab

    def register(self, host: NamespaceHost, *, uri: str = "", **annotations: str) -> None:
        """As a Node that is Ready on return, reached by its socket or by another `uri`. Annotations are of kubevirt.io:
        `migration_tls` for `kubevirt.io/migration-tls`."""
        said = {f"kubevirt.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
        node = {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": host.name, "annotations": {
                "kubevirt.io/peer-uri": host.peer_uri, "kubevirt.io/migration-uri": host.migration_uri,
                "kubevirt.io/shared-paths": str(self.lab.directory), "kubevirt.io/allocatable-memory": "4Gi", **said,
            }},
            "spec": {"providerID": uri or host.uri},
        }  # fmt: skip
        answer = self.drover.request("POST", "/api/v1/nodes", node)
        assert answer.status_code == 201, answer.text
        eventually(f"{host.name} is Ready", lambda: host.name in self.drover.ready_nodes())

    def guest(self, name: str, node: str, address: str, *, labels: Mapping[str, str] | None = None) -> Path:
        """A Linux guest that runs on that node and answers pings at that address. The answer is its console."""
        images, console = linux_images(self.lab.images), self.lab.consoles / name
        xml = linux_xml(name, "", images, console, memory_mib=128, bridge=BRIDGE, address=f"{address}/24")
        spec = {"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 0}
        with Meter(console) as meter:
            body = virtual_machine(name, xml, labels=labels or {}, **spec)
            answer = self.drover.request("POST", f"{KUBEVIRT}/namespaces/default/virtualmachines", body)
            assert answer.status_code == 201, answer.text
            assert meter.wait_for_ticks(1, 60), f"{name} does not tick: {self.drover.last_words()}"
        free = {"spec": {"nodeSelector": {"kubernetes.io/hostname": None}}}
        path = f"{KUBEVIRT}/namespaces/default/virtualmachines/{name}"
        assert self.drover.request("PATCH", path, free, kind="application/merge-patch+json").status_code == 200
        eventually(f"{name} runs", lambda: self.drover.vm(name).get("status", {}).get("phase") == "Running")
        return console

    def guests_at(self, node: str, uid: str) -> int:
        """How many QEMU processes hold that guest there."""
        return sum(uid in " ".join(process.arguments()) for process in self.lab[node].guests())


@contextmanager
def networked(*names: str, libvirtd_conf: str = "", settings: Mapping[str, str] | None = None) -> Iterator[Site]:
    """The same, but what controls hosts runs at the switch: what is cut off there, Drover does not reach either."""
    with namespaced(*names, flags=("--no-workers",), libvirtd_conf=libvirtd_conf, settings=settings) as site:
        site.drover.start_worker(program("nsenter"), f"--net=/proc/{site.lab.switch.pid}/ns/net", "--")
        try:
            yield site
        finally:
            site.drover.stop_workers()


@contextmanager
def namespaced(
    *names: str,
    flags: tuple[str, ...] = (),
    libvirtd_conf: str = "",
    settings: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """All is gone on the way out, also after a failure."""
    directory = Path(tempfile.mkdtemp(prefix="drover-e2e-"))
    directory.chmod(0o711)
    with NamespaceLab(*names, libvirtd_conf=libvirtd_conf) as lab:
        home = directory / "home"
        home.mkdir()
        allowed = {
            "DROVER_ALLOWED_PATHS": json.dumps([str(lab.directory)]), "DROVER_ALLOWED_BRIDGES": json.dumps([BRIDGE])
        }  # fmt: skip
        env = environment(home) | allowed | dict(settings or {})
        service = Drover(directory, directory / "lab", directory / "log", flags=flags, env=env)
        try:
            service.start()
            yield Site(service, lab)
        finally:
            if service.process is not None and service.process.poll() is None:
                service.stop()
            shutil.rmtree(directory)
