"""Sets of certificates and keys: chosen by name, and what of them goes into a URI."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.hypervisor.base import Unreachable
from app.hypervisor.credentials import Credentials

TLS = ("cacert.pem", "clientcert.pem", "clientkey.pem")


def a_set(root: Path, name: str, *files: str) -> Path:
    folder = root / name
    folder.mkdir()
    for file in files:
        (folder / file).write_text("secret")
    return folder


def test_tls_takes_the_folder_and_the_default_counts_for_who_names_none(tmp_path: Path) -> None:
    named, default = a_set(tmp_path, "rack-b", *TLS), a_set(tmp_path, "default", *TLS)
    sets = Credentials(tmp_path)

    assert sets.address("qemu+tls://h1/system", "rack-b") == f"qemu+tls://h1/system?pkipath={named}"
    assert sets.address("qemu+tls://h1/system") == f"qemu+tls://h1/system?pkipath={default}"
    assert sets.client_certificate("qemu+tls://h1/system", "rack-b") == named / "clientcert.pem"


def test_what_the_set_says_wins_over_what_an_older_uri_says(tmp_path: Path) -> None:
    named = a_set(tmp_path, "rack-b", *TLS)

    reached = Credentials(tmp_path).address("qemu+tls://h1/system?pkipath=/old&tls_priority=NORMAL", "rack-b")

    assert reached == f"qemu+tls://h1/system?tls_priority=NORMAL&pkipath={named}"


def test_ssh_with_known_hosts_is_libvirts_own_and_never_asks(tmp_path: Path) -> None:
    with_hosts = a_set(tmp_path, "a", "ssh-privatekey", "known_hosts")
    without = a_set(tmp_path, "b", "ssh-privatekey")
    sets = Credentials(tmp_path)

    assert sets.address("qemu+ssh://root@h1/system", "a") == (
        f"qemu+libssh2://root@h1/system?keyfile={with_hosts}/ssh-privatekey&no_tty=1"
        f"&known_hosts={with_hosts}/known_hosts&known_hosts_verify=normal&sshauth=privkey"
    )
    assert sets.address("qemu+ssh://root@h1/system", "b") == (
        f"qemu+ssh://root@h1/system?keyfile={without}/ssh-privatekey&no_tty=1"
    )


@pytest.mark.parametrize("uri", ["qemu+unix:///session?socket=/run/x", "qemu+tcp://h1/system", "qemu:///system"])
def test_ways_without_credentials_stay_as_they_are(tmp_path: Path, uri: str) -> None:
    a_set(tmp_path, "default", *TLS, "ssh-privatekey")

    assert Credentials(tmp_path).address(uri) == uri


@pytest.mark.parametrize("uri", ["qemu+tls://h1/system", "qemu+ssh://h1/system"])
def test_without_sets_libvirts_own_places_count(tmp_path: Path, uri: str) -> None:
    assert Credentials().address(uri) == Credentials(tmp_path).address(uri) == uri


@pytest.mark.parametrize("name", ["..", "../other", "a/b", "/etc", ".", "A", "-a", "a\n"])
def test_a_path_is_no_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "sets").mkdir()
    a_set(tmp_path, "other", *TLS)

    with pytest.raises(Unreachable, match="no name of a set"):
        Credentials(tmp_path / "sets").address("qemu+tls://h1/system", name)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    a_set(tmp_path, "half", "cacert.pem")

    with pytest.raises(Unreachable, match=r"'half' lack clientcert\.pem, clientkey\.pem"):
        Credentials(tmp_path).address("qemu+tls://h1/system", "half")
    with pytest.raises(Unreachable, match="'half' lack ssh-privatekey"):
        Credentials(tmp_path).address("qemu+ssh://h1/system", "half")
    with pytest.raises(Unreachable, match="'none': no such folder in DROVER_HOST_CREDENTIALS"):
        Credentials(tmp_path).address("qemu+tls://h1/system", "none")
    with pytest.raises(Unreachable, match="DROVER_HOST_CREDENTIALS names no directory"):
        Credentials().address("qemu+tls://h1/system", "none")
