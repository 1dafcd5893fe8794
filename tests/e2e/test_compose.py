"""docker-compose.yml, brought up for real without a Docker engine: by podman, from the Dockerfile's own commands.

What this does not show: Docker's own engine and builder; the official PostgreSQL image (Debian's server stands for it, by
`postgres.Dockerfile`); conditions on a container's health, which this podman cannot wait for; Debian's own base image
(debootstrap makes one, which trusts what this machine trusts). Images stay in podman's store, as a cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.api.processes import free_port
from tests.e2e.harness import KUBECTL, ROOT

pytestmark = [
    pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.namespaces, pytest.mark.slow, pytest.mark.timeout(3000),
    pytest.mark.xdist_group("compose"),
]  # fmt: skip

PROJECT = f"drovertest{os.getpid()}"
PORTS = free_port(), free_port()
DEBIAN, POSTGRES = "docker.io/library/debian:bookworm-slim", "docker.io/library/postgres:17"
NEEDED = ("podman", "runc", "debootstrap")
CONF = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
"""
BASE = f"""\
FROM {DEBIAN}
COPY ca/ /usr/local/share/ca-certificates/
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
"""
AUTHORITIES = Path("/usr/local/share/ca-certificates")


@dataclass(frozen=True)
class Compose:
    """What was brought up."""

    directory: Path

    def run(self, *words: str, within_s: float = 120) -> str:
        """Its output. Fails with what it complained of."""
        done = self.attempt(*words, within_s=within_s)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def attempt(self, *words: str, within_s: float = 120) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "CONTAINERS_CONF": str(self.directory / "containers.conf")}
        env |= {f"DROVER_API{number}_PORT": str(port) for number, port in enumerate(PORTS)}
        env["PATH"] = f"{self.directory}/venv/bin:{env['PATH']}"
        return subprocess.run(
            words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=within_s, stdin=subprocess.DEVNULL
        )

    def inside(self, service: str, *words: str) -> str:
        return self.run("podman", "exec", name(service), *words)

    def ended(self, service: str, within_s: float) -> tuple[int, str]:
        """Its exit status, and what it printed."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            state = self.run("podman", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name(service))
            status, code = state.split()
            if status == "exited":
                return int(code), self.told(service)
            time.sleep(1)
        raise AssertionError(f"{service} did not end: {self.told(service)}")

    def told(self, service: str) -> str:
        """What it printed, to either stream: an error goes to the second."""
        done = self.attempt("podman", "logs", name(service))
        return done.stdout + done.stderr


def name(service: str) -> str:
    return f"{PROJECT}_{service}_1"


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    missing = [program for program in NEEDED if shutil.which(program) is None]
    assert not missing, (
        f"apt-get install --no-install-recommends podman runc netavark aardvark-dns debootstrap ({missing})"
    )
    directory = Path(tempfile.mkdtemp(prefix="drover-compose-"))
    standing = Compose(directory)
    try:
        _prepare(standing)
        yield from _up(standing)
    finally:
        shutil.rmtree(directory)


def _up(compose: Compose) -> Iterator[Compose]:
    try:
        compose.run("podman-compose", "-p", PROJECT, "up", "--no-build", "-d", within_s=600)
        yield compose
    finally:
        compose.run("podman-compose", "-p", PROJECT, "down", "-v", "-t", "5", within_s=300)


def _prepare(compose: Compose) -> None:
    directory = compose.directory
    (directory / "containers.conf").write_text(CONF)
    compose.run(sys.executable, "-m", "venv", "--without-pip", str(directory / "venv"))
    install = ("--python", str(directory / "venv/bin/python"), "install", "-q", "podman-compose==1.6.0")
    compose.run(sys.executable, "-m", "pip", *install, within_s=300)
    if compose.attempt("podman", "image", "exists", DEBIAN).returncode:
        _make_debian(compose)
    if compose.attempt("podman", "image", "exists", POSTGRES).returncode:
        _build(compose, ROOT / "tests/e2e/postgres.Dockerfile", POSTGRES, ROOT / "tests/e2e")
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    for image, target in sorted({(each["image"], each["build"]["target"]) for each in services if "build" in each}):
        _build(compose, ROOT / "Dockerfile", image, ROOT, "--target", target)


def _make_debian(compose: Compose) -> None:
    root, archive = compose.directory / "root", compose.directory / "root.tar"
    compose.run("debootstrap", "--variant=minbase", "bookworm", str(root), "http://deb.debian.org/debian", within_s=900)
    compose.run("tar", "-C", str(root), "-cf", str(archive), ".", within_s=300)
    compose.run("podman", "import", str(archive), DEBIAN, within_s=300)
    archive.unlink()
    shutil.rmtree(root)
    (compose.directory / "ca").mkdir()
    for certificate in AUTHORITIES.glob("*.crt"):
        shutil.copy(certificate, compose.directory / "ca")
    (compose.directory / "Base").write_text(BASE)
    _build(compose, compose.directory / "Base", DEBIAN, compose.directory)


def _build(compose: Compose, file: Path, image: str, context: Path, *more: str) -> None:
    command = ("podman", "build", "-q", "--isolation", "chroot", "--network", "host", "-f", str(file), "-t", image)
    compose.run(*command, *more, str(context), within_s=1500)


def test_everything_comes_up_and_the_guest_moves_encrypted(compose: Compose) -> None:
    code, said = compose.ended("demo", within_s=300)
    print(said)

    assert code == 0, said
    assert "Succeeded: from host" in said and "encrypted: True" in said
    here, there = (compose.inside(host, "virsh", "-q", "list", "--name").split() for host in ("host0", "host1"))
    assert sorted([here, there]) == [[], ["default_testvm"]]
    source, target = said.split("Succeeded: from ")[1].split(",")[0].split(" to ")
    assert compose.inside(target, "virsh", "-q", "list", "--name").strip() == "default_testvm" and source != target


def test_both_replicas_answer_an_administrator_and_nobody_else(compose: Compose) -> None:
    compose.ended("demo", within_s=300)
    config = compose.directory / "kubeconfig"
    config.write_text(compose.inside("api0", "cat", "/pki/api/kubeconfig"))

    for port in PORTS:
        server = f"https://127.0.0.1:{port}"
        nodes = compose.run(str(KUBECTL), "--kubeconfig", str(config), "--server", server, "get", "nodes", "-o", "name")
        stranger = compose.run("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", f"{server}/api/v1/nodes")
        assert nodes.split() == ["node/host0", "node/host1"]
        assert stranger in ("401", "403")


def test_drover_is_not_root_and_cannot_write_to_its_image(compose: Compose) -> None:
    for service in ("api0", "api1", "workers0", "workers1"):
        assert compose.inside(service, "id", "-u").strip() == "990"
        assert compose.attempt("podman", "exec", name(service), "touch", "/opt/drover/x").returncode != 0
        assert "CapEff:\t0000000000000000" in compose.inside(service, "cat", "/proc/self/status")


def test_no_host_listens_to_strangers(compose: Compose) -> None:
    for host in ("host0", "host1"):
        listening = compose.inside(host, "ss", "-Hltn").split()
        assert any(each.endswith(":16514") for each in listening)
        assert not any(each.endswith(":16509") for each in listening)
    probe = (
        "import socket, ssl; bare = socket.create_connection(('host0', 16514), 5); "
        "shown = ssl._create_unverified_context().wrap_socket(bare); shown.recv(1) or exit(7)"
    )
    assert compose.attempt("podman", "exec", name("workers0"), "python", "-c", probe).returncode != 0
