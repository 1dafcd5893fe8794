"""Drover over TLS as its clients meet it: kubectl by the printed kubeconfig, curl, the lab."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import DROVER, KUBECTL, ROOT, Drover, environment, eventually

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres]


@pytest.fixture
def drover() -> Iterator[Drover]:
    """`drover serve` as it is by itself, running."""
    directory = Path(tempfile.mkdtemp(prefix="drover-tls-"))
    directory.chmod(0o711)  # as root the database runs as another user, who must pass
    lab = Path(tempfile.mkdtemp(prefix="dl-"))
    service = Drover(directory, lab, directory / "log", flags=("--tls",), env=environment(directory))
    try:
        service.start()
        yield service
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop()
        service.lab_down()
        shutil.rmtree(directory)
        shutil.rmtree(lab, ignore_errors=True)


def kubectl(drover: Drover, *words: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = drover.env | {"KUBECONFIG": str(config or drover.directory / "data" / "kubeconfig")}
    return subprocess.run(
        [KUBECTL, *words], env=env, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
    )


def curl(drover: Drover, path: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["curl", "-sS", *words, drover.url + path], env=drover.env, capture_output=True, text=True, timeout=30
    )


def test_kubectl_trusts_the_printed_kubeconfig_before_and_after_a_restart(drover: Drover, tmp_path: Path) -> None:
    printed = drover.directory / "data" / "kubeconfig"
    first = printed.read_bytes()
    seen = kubectl(drover, "get", "namespaces", "-o", "name")
    port = drover.port

    stopped = drover.stop()
    drover.start(port)
    again = kubectl(drover, "get", "namespaces", "-o", "name")
    (tmp_path / "config").write_text(
        drover.command("kubeconfig", "--server", drover.url, "--data-dir", str(drover.directory / "data"))
    )
    by_command = kubectl(drover, "get", "namespaces", "-o", "name", config=tmp_path / "config")

    assert drover.url.startswith("https://127.0.0.1:")
    assert (seen.stdout, stopped) == ("namespace/default\n", 0), seen.stderr
    assert printed.read_bytes() == first
    assert again.stdout == by_command.stdout == seen.stdout, (again, by_command)


def test_curl_refuses_without_the_authority(drover: Drover) -> None:
    authority = str(drover.directory / "data" / "tls" / "ca.crt")

    without = curl(drover, "/readyz")
    with_it = curl(drover, "/readyz", "--cacert", authority)
    in_the_clear = subprocess.run(
        ["curl", "-sS", drover.url.replace("https", "http")], env=drover.env, capture_output=True, timeout=30
    )

    assert without.returncode == 60, without
    assert with_it.stdout == "ok", with_it
    assert in_the_clear.returncode != 0


def test_without_a_certificate_nothing_is_shown_but_health_and_version(drover: Drover) -> None:
    authority = ("--cacert", str(drover.directory / "data" / "tls" / "ca.crt"))

    answers = {path: curl(drover, path, *authority).stdout for path in ("/livez", "/apis", "/api/v1/nodes")}
    wrong = curl(drover, "/livez", *authority, "-H", "Authorization: Bearer made-up").stdout
    printed = drover.directory / "data" / "kubeconfig"

    assert answers["/livez"] == "ok"
    assert 'forbidden: User \\"system:anonymous\\" cannot get path \\"/apis\\"' in answers["/apis"]
    assert 'nodes is forbidden: User \\"system:anonymous\\" cannot list resource' in answers["/api/v1/nodes"]
    assert '"code": 401' in wrong
    assert "system:admin" in kubectl(drover, "auth", "whoami").stdout
    assert printed.stat().st_mode & 0o777 == 0o600


def test_a_watch_over_tls_ends_with_the_service(drover: Drover) -> None:
    watch = subprocess.Popen(
        [KUBECTL, "get", "namespaces", "-w", "-o", "name"],
        env=drover.env | {"KUBECONFIG": str(drover.directory / "data" / "kubeconfig")},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert watch.stdout is not None
        first = watch.stdout.readline()

        status = drover.stop()
        rest, _ = watch.communicate(timeout=10)
    finally:
        watch.kill()

    assert (first, rest, status, watch.returncode) == ("namespace/default\n", "", 0, 0)


def test_the_lab_registers_its_hosts_over_tls(drover: Drover, tmp_path: Path) -> None:
    words = ["--lab-dir", str(drover.lab), "--server", drover.url]
    ours = [*words, "--data-dir", str(drover.directory / "data")]
    stranger = subprocess.run(
        [*DROVER, "lab", "up", "--nodes", "1", *words, "--data-dir", str(tmp_path)],
        cwd=ROOT, env=drover.env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    drover.command("lab", "up", "--nodes", "1", *ours)

    ready = eventually("node0 is Ready", lambda: " Ready " in kubectl(drover, "get", "nodes").stdout)
    authority = str(drover.directory / "data" / "tls" / "ca.crt")
    drover.command("lab", "down", *ours, "--server-ca", authority)

    assert stranger.returncode == 2
    assert "--server-ca" in stranger.stderr.strip().splitlines()[-1]
    assert len(stranger.stderr.strip().splitlines()) == 1
    assert ready
    assert kubectl(drover, "get", "nodes", "-o", "name").stdout == ""


def test_wrong_files_are_one_line(tmp_path: Path) -> None:
    refused = subprocess.run(
        [*DROVER, "serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--tls-cert", "/no.crt", "--tls-key", "/k"],
        cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (refused.returncode, refused.stderr) == (2, "drover: cannot read /no.crt: No such file or directory\n")
    assert not (tmp_path / "data").exists()
