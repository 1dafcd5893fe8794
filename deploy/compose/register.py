"""Registers the compose file's libvirt hosts as Nodes: `register.py https://api:8443 host0 host1`.

As the administrator, by the kubeconfig that the API wrote into the volume that both mount.
"""

import sys
import time
from pathlib import Path

import httpx

from app.kubeconfig import read_kubeconfig
from app.lab.registration import trust

KUBECONFIG = Path("/var/lib/drover/kubeconfig")


def main(server: str, hosts: list[str]) -> int:
    for attempt in range(60):
        try:
            access = trust(read_kubeconfig(KUBECONFIG))
            if httpx.get(f"{server}/readyz", timeout=2, verify=access).status_code == 200:
                break
        except (httpx.TransportError, FileNotFoundError) as error:
            print(f"waiting for {server}: {error} ({attempt})", flush=True)
        time.sleep(1)
    else:
        return 1
    for host in hosts:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": host, "annotations": {"kubevirt.io/shared-paths": "/var/lib/guests"}},
            "spec": {"providerID": f"qemu+tcp://{host}/system"},
        }
        answer = httpx.post(f"{server}/api/v1/nodes", json=node, timeout=10, verify=access)
        print(host, answer.status_code, flush=True)
        if answer.status_code not in (201, 409):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
