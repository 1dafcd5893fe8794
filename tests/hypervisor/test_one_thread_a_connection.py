"""libvirt's client before 10.4 does not bear two threads on one connection: a host that froze and woke ended whole processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from app.hypervisor.libvirt_driver.line import Line
from app.lab.hosts import LabHost, LabHosts

pytestmark = pytest.mark.libvirt


@pytest.fixture(scope="module")
def host() -> Iterator[LabHost]:
    with LabHosts.temporary("node0") as lab:
        yield lab["node0"]


async def test_calls_at_once_are_one_after_the_other_or_over_different_connections(host: LabHost) -> None:
    lines = [Line(f"line-{number}", host.uri, 10, lambda _: None) for number in range(3)]
    users: dict[int, set[int]] = {}

    def use(connection: libvirt.virConnect) -> int:
        users.setdefault(id(connection), set()).add(threading.get_ident())
        return int(connection.getLibVersion())

    versions = await asyncio.gather(*(line.run(use) for line in lines for _ in range(20)))
    for line in lines:
        line.end()

    assert min(versions) > 0
    assert [len(threads) for threads in users.values()] == [1, 1, 1]
    assert len(set.union(*users.values())) == 3


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_host_that_freezes_and_wakes_ends_nobody(host: LabHost) -> None:
    """Longer than keepalive and every deadline; it took two times to end each of six processes."""
    times, frozen_s, between_s = 3, 20.0, 4.0
    command = [
        sys.executable,
        "-m",
        "tests.hypervisor.frozen_client",
        host.uri,
        str(times * (frozen_s + between_s) + 10),
    ]
    root = Path(__file__).parents[2]
    clients = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) for _ in range(6)]
    try:
        time.sleep(between_s)
        for _ in range(times):
            assert host.pid is not None
            os.kill(host.pid, signal.SIGSTOP)
            try:
                time.sleep(frozen_s)
            finally:
                os.kill(host.pid, signal.SIGCONT)
            time.sleep(between_s)
        answers = [int(client.communicate(timeout=60)[0]) for client in clients]
    finally:
        for client in clients:
            client.kill()
            client.wait()

    assert [client.returncode for client in clients] == [0] * 6
    assert min(answers) > 100
