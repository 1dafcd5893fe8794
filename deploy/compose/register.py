"""Registers the compose file's libvirt hosts as Nodes: `register.py http://api:8080 host0 host1`."""

import sys
import time

import httpx


def main(server: str, hosts: list[str]) -> int:
    for attempt in range(60):
        try:
            if httpx.get(f"{server}/readyz", timeout=2).status_code == 200:
                break
        except httpx.TransportError as error:
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
        answer = httpx.post(f"{server}/api/v1/nodes", json=node, timeout=10)
        print(host, answer.status_code, flush=True)
        if answer.status_code not in (201, 409):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
