"""Registers the compose file's hosts, starts testvm.yaml's guest and moves it. Whatever it finds done already, it leaves.

`demo.py /pki/api https://api0:8443 … host0 host1`
"""

import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

HERE = Path(__file__).parent
KUBEVIRT = "/apis/kubevirt.io/v1alpha1/namespaces/default"
PATIENCE_S = 180.0


class Drover:
    """Its replicas, in turn: each answers for all."""

    def __init__(self, replicas: list[httpx.Client]) -> None:
        self._replicas = replicas

    @classmethod
    def at(cls, pki: Path, servers: list[str]) -> "Drover":
        context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
        context.load_cert_chain(pki / "admin.pem", pki / "admin-key.pem")
        return cls([httpx.Client(base_url=server, verify=context, timeout=10) for server in servers])

    def until(self, what: str, path: str, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        last = f"no answer for {path}"
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                answer = self._next().get(path)
                last = answer.text
                if answer.status_code == 200 and holds(answer.json()):
                    return dict(answer.json())
            except httpx.TransportError as error:
                last = str(error)
            time.sleep(0.5)
        raise SystemExit(f"not {what} within {PATIENCE_S:g} s: {last}")

    def create(self, path: str, body: dict[str, Any]) -> None:
        """Again, where the replica that was asked is not up yet: what is there already is 409."""
        what, last = f"{body['kind']} {body['metadata']['name']}", "no answer"
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                answer = self._next().post(path, json=body)
            except httpx.TransportError as error:
                last = str(error)
            else:
                if answer.status_code in (201, 409):
                    print(f"{what}: {answer.status_code}", flush=True)
                    return
                if answer.status_code != 503:
                    raise SystemExit(f"{what}: {answer.text}")
                last = answer.text
            time.sleep(0.5)
        raise SystemExit(f"{what}: not created within {PATIENCE_S:g} s: {last}")

    def _next(self) -> httpx.Client:
        self._replicas.append(self._replicas.pop(0))
        return self._replicas[-1]


def node(name: str) -> dict[str, Any]:
    annotations = {"kubevirt.io/shared-paths": "/var/lib/guests", "kubevirt.io/migration-tls": "true"}
    # The workers' certificates: the folder of that name in DROVER_HOST_CREDENTIALS. The other host has its own.
    annotations["kubevirt.io/credentials"] = "drover"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"providerID": f"qemu+tls://{name}/system"},
    }


def is_ready(document: dict[str, Any]) -> bool:
    conditions = document.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def phase(document: dict[str, Any]) -> str:
    return str(document.get("status", {}).get("phase", ""))


def main(pki: Path, servers: list[str], hosts: list[str]) -> int:
    drover = Drover.at(pki, servers)
    drover.until("served", "/api/v1/nodes", lambda _: True)
    for host in hosts:
        drover.create("/api/v1/nodes", node(host))
    for host in hosts:
        drover.until(f"Ready: {host}", f"/api/v1/nodes/{host}", is_ready)
    guest, migration = (yaml.safe_load((HERE / name).read_text()) for name in ("testvm.yaml", "migration.yaml"))
    drover.create(f"{KUBEVIRT}/virtualmachines", guest)
    path = f"{KUBEVIRT}/virtualmachines/{guest['metadata']['name']}"
    before = drover.until("running", path, lambda vm: phase(vm) == "Running")["status"]["nodeName"]
    print(f"the guest runs on {before}", flush=True)
    drover.create(f"{KUBEVIRT}/migrations", migration)
    path = f"{KUBEVIRT}/migrations/{migration['metadata']['name']}"
    status = drover.until("over", path, lambda found: phase(found) in ("Succeeded", "Failed"))["status"]
    state = status.get("migrationState") or {}
    print(
        f"{status['phase']}: from {state.get('sourceNode')} to {state.get('targetNode')}, stopped for"
        f" {state.get('downtimeMs')} ms, encrypted: {state.get('encrypted')}",
        flush=True,
    )
    return 0 if status["phase"] == "Succeeded" else 1


if __name__ == "__main__":
    urls = [word for word in sys.argv[2:] if word.startswith("https://")]
    sys.exit(main(Path(sys.argv[1]), urls, [word for word in sys.argv[2:] if word not in urls]))
