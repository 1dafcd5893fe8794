"""OpenSSH's server for a host of the lab: unpacked from Debian's packages, installed nowhere, heard in that host alone."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.lab import processes
from app.lab.enclosure import Enclosure
from app.lab.kernel import cache_folder
from app.lab.processes import wait_until
from app.lab.programs import program

PACKAGES = ("openssh-server", "libwrap0")
START_S = 20.0
CONF = """\
ListenAddress {address}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
"""
SCRIPT = """\
mkdir -p /run/sshd
mount --bind {folder}/passwd /etc/passwd
export LD_LIBRARY_PATH={libraries}
exec {sshd} -D -e -f {folder}/conf
"""


class NotToBeHad(Exception):
    """The packages cannot be downloaded here."""


def unpacked() -> Path:
    """The packages' files, downloaded once. Raises NotToBeHad."""
    keep = cache_folder() / "sshd"
    if keep.exists():
        return keep
    with tempfile.TemporaryDirectory(prefix=".sshd-", dir=cache_folder()) as work:
        command = [program("apt-get"), "download", "-qq", "-o", "APT::Sandbox::User=", *PACKAGES]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise NotToBeHad(f"{' and '.join(PACKAGES)} cannot be downloaded: {done.stderr.strip()[-300:]}")
        files = Path(work, "files")
        for package in Path(work).glob("*.deb"):
            subprocess.run([program("dpkg"), "-x", str(package), str(files)], check=True, timeout=60)
        try:
            files.rename(keep)
        except OSError:
            if not keep.exists():  # else another run kept its own, the same, a moment before
                raise
    return keep


def new_key(path: Path) -> str:
    """The public half of the pair that is there then."""
    command = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
    return path.with_suffix(".pub").read_text().strip()


@contextmanager
def listening(enclosure: Enclosure, address: str, folder: Path, lets_in: str) -> Iterator[str]:
    """On port 22 of that address: root gets in with the key of which that is the public half. The answer is the host's."""
    files = unpacked()
    folder.mkdir(mode=0o755)
    shown = new_key(folder / "host")
    (folder / "authorized").write_text(f"{lets_in}\n")
    (folder / "conf").write_text(CONF.format(address=address, folder=folder))
    # sshd insists on a user of its own to be while nobody has logged in yet.
    (folder / "passwd").write_text(
        Path("/etc/passwd").read_text() + "sshd:x:64999:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    libraries = next(files.glob("usr/lib/*/libwrap.so.0")).parent
    script = SCRIPT.format(folder=folder, libraries=libraries, sshd=files / "usr/sbin/sshd")
    with (folder / "log").open("wb") as log:
        command = enclosure.command(program("unshare"), "--mount", "--", program("sh"), "-e", "-c", script)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    listener = None
    try:
        up = wait_until(lambda: b"Server listening" in (folder / "log").read_bytes(), START_S)
        assert up, (folder / "log").read_text()
        listener = processes.innermost(process.pid)  # before anybody is logged in: they would be further ones
        yield shown
    finally:
        if listener is not None:
            listener.send(signal.SIGTERM)
        else:
            process.kill()
        process.wait(START_S)
        shutil.rmtree(folder)
