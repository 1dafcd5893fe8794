"""Libvirt hosts on one machine: a libvirtd in session mode each, without root, below one folder."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.lab import capabilities, processes
from app.lab.account import Account, ordinary
from app.lab.errors import LabError
from app.lab.processes import Process
from app.lab.programs import program, require
from app.lab.standing import Standing, listens

EMULATOR = "qemu-system-x86_64"
LONGEST_FOLDER = 36
"""A unix socket's path has at most 107 bytes, and QEMU's monitor lies up to 70 below the lab's folder."""
STATE = "lab.json"
START_S = 30.0
LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
log_outputs = "3:stderr"
"""
QEMU_CONF = """\
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = [ ]
namespaces = [ ]
migration_port_min = {first}
migration_port_max = {last}
"""


class LabHost:
    """One libvirtd, its settings and its sockets; everything it makes lies in its folder, and its guests die with it."""

    def __init__(self, directory: Path, name: str, account: Account) -> None:
        self.name = name
        self.directory = directory / name
        self._pid_file = directory / f"{name}.pid"
        self._account = account
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "libvirt" / "libvirt-sock"

    @property
    def uri(self) -> str:
        return f"qemu+unix:///session?socket={self.socket}"

    @property
    def migration_sockets(self) -> Path:
        """A folder where this host may listen for arriving guests: `unix://<folder>/<any name>.sock`."""
        return self.directory / "in"

    @property
    def log(self) -> Path:
        """What libvirtd says; D-Bus, dnsmasq, dmi and /dev/kvm are complained of and do not matter."""
        return self.directory / "libvirtd.log"

    @property
    def pid(self) -> int | None:
        """Of libvirtd, while it runs."""
        daemon = self._daemon()
        return daemon.pid if daemon else None

    def guests(self) -> list[Process]:
        """QEMU's processes on this host, whether or not libvirtd knows of them."""
        return processes.find(EMULATOR, self.directory)

    def start(self) -> None:
        """Returns when libvirtd answers. Running already is success; settings and UUID outlive a restart."""
        if self._answers():
            return
        self._end_daemon()
        self._furnish()
        self._child = self._spawn()
        self._remember(self._child.pid)
        if not processes.wait_until(lambda: self._answers() or self._exited(), START_S) or self._exited():
            self._end_daemon()
            raise LabError(f"libvirtd of {self.name} did not start: {self._last_words()}")

    def stop(self) -> None:
        """Ends libvirtd first, so that nothing starts behind our back, then its guests. Twice is harmless."""
        self._end_daemon()
        capabilities.keep(self.directory / "cache" / capabilities.BELOW_CACHE, self._account)
        while guests := self.guests():
            processes.end(guests)

    def kill(self) -> None:
        """libvirtd dies as in a crash; its guests go on without it."""
        daemon = self._daemon()
        if daemon is not None:
            daemon.send(signal.SIGKILL)
            processes.wait_until(lambda: not daemon.alive, START_S)
        self._reap()

    def _spawn(self) -> subprocess.Popen[bytes]:
        drop = None if self._account.is_me else self._account
        folders = {f"XDG_{what}_HOME": str(self.directory / what.lower()) for what in ("CONFIG", "CACHE", "DATA")}
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.directory),
            "XDG_RUNTIME_DIR": str(self.directory / "run"),
            **folders,
        }
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "ab") as log:
            return subprocess.Popen(
                [program("libvirtd"), "-f", str(self.directory / "libvirtd.conf")],
                cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, umask=0o077,
                user=drop.uid if drop else None, group=drop.gid if drop else None, extra_groups=[] if drop else None,
            )  # fmt: skip

    def _furnish(self) -> None:
        """Made beside its place and moved there whole: a folder that exists is complete."""
        if self.directory.exists():
            return
        build = Path(tempfile.mkdtemp(prefix=f".{self.name}-", dir=self.directory.parent))
        for folder in ("config/libvirt", "cache", "data", "run", "in"):
            (build / folder).mkdir(parents=True, mode=0o700)
        first = 20000 + 32 * secrets.randbelow(900)
        (build / "libvirtd.conf").write_text(LIBVIRTD_CONF.format(uuid=uuid.uuid4()))
        (build / "config/libvirt/qemu.conf").write_text(QEMU_CONF.format(first=first, last=first + 31))
        (build / self.log.name).touch()
        capabilities.lend(build / "cache" / capabilities.BELOW_CACHE)
        for path in (build, *build.rglob("*")):
            self._account.give(path)
        build.rename(self.directory)

    def _remember(self, pid: int) -> None:
        daemon = processes.process(pid)
        self._pid_file.write_text(f"{daemon.pid} {daemon.start}\n" if daemon else "")

    def _daemon(self) -> Process | None:
        """Whoever started it: found by what was written down then, or by its command line."""
        self._reap()
        written = self._pid_file.read_text().split() if self._pid_file.exists() else []
        if len(written) == 2 and (daemon := Process(int(written[0]), int(written[1]))).alive:
            return daemon
        return next(iter(processes.find("libvirtd", self.directory)), None)

    def _answers(self) -> bool:
        return self._daemon() is not None and listens(self.socket)

    def _end_daemon(self) -> None:
        while daemon := self._daemon():
            processes.end([daemon])
        self._reap()
        self._pid_file.unlink(missing_ok=True)

    def _exited(self) -> bool:
        return self._child is None or self._child.poll() is not None

    def _reap(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._child = None

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class LabHosts(Standing[LabHost]):
    """
    Hosts below one folder. Its top belongs to whoever made the lab, so that root writes nothing where the ordinary user
    that runs the hosts could have laid a link; each host's own folder belongs to that user.
    """

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        super().__init__(Path(os.path.normpath(directory.absolute())))
        self.account = ordinary()
        self._names = tuple(names)
        self._hosts = {name: LabHost(self.directory, name, self.account) for name in self._names}

    @classmethod
    def of(cls, directory: Path) -> LabHosts:
        """The lab that stands, or lies dead, in a folder; one without hosts where there is none."""
        state = directory / STATE
        return cls(directory, json.loads(state.read_text())["hosts"] if state.exists() else ())

    @classmethod
    def temporary(cls, *names: str) -> LabHosts:
        """In a new folder of the temporary directory; `remove` takes it away again."""
        return cls(Path(tempfile.mkdtemp(prefix="drover-")), names or ("node0", "node1"))

    def start(self) -> None:
        """Brings up what does not run. Raises LabError, saying what would help."""
        require("libvirtd", EMULATOR)
        self._claim()
        with self._locked():
            for host in self:
                host.start()

    def stop(self) -> None:
        """No process is left; settings stay, and `start` brings the hosts back. Twice is harmless."""
        if not self.directory.exists():
            return
        with self._locked():
            for host in self:
                host.stop()
            for name in ("libvirtd", EMULATOR):
                processes.end(processes.find(name, self.directory))

    def remove(self) -> None:
        """No process and no file is left. A folder that is no lab is not touched."""
        if not self.directory.exists():
            return
        if not (self.directory / STATE).exists() and any(self.directory.iterdir()):
            raise LabError(f"{self.directory} is not a lab: nothing was removed")
        self.stop()
        shutil.rmtree(self.directory)

    def give(self, path: Path) -> None:
        """Let the hosts' user own a file or a folder of the lab."""
        self.account.give(path)

    def _claim(self) -> None:
        """Only a folder of our own that is empty, or a lab already."""
        if len(str(self.directory)) > LONGEST_FOLDER:
            raise LabError(
                f"{self.directory} is too long for unix sockets: choose a folder of at most {LONGEST_FOLDER} letters"
            )
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise LabError(f"cannot make the lab's folder {self.directory}: {error.strerror}") from error
        seen = self.directory.lstat()
        if seen.st_uid != os.geteuid() or self.directory.is_symlink():
            raise LabError(f"{self.directory} belongs to somebody else: choose another folder, or remove it first")
        if not (self.directory / STATE).exists() and any(self.directory.iterdir()):
            raise LabError(f"{self.directory} is not empty and is not a lab: choose another folder")
        self._make_reachable()
        (self.directory / STATE).write_text(json.dumps({"hosts": self._names}))
        for folder, mode in ((self.images, 0o755), (self.consoles, 0o700)):
            if not folder.exists():
                folder.mkdir(mode=mode)
                folder.chmod(mode)
        self.give(self.consoles)

    def _make_reachable(self) -> None:
        """Only our own folder is opened, for passing through; those above it must let the hosts' user pass already."""
        if self.account.is_me:
            return
        self.directory.chmod(0o711)
        for above in self.directory.parents:
            if not above.stat().st_mode & 0o001:
                raise LabError(
                    f"user {self.account.name}, who runs the hosts for root, may not enter {above}: "
                    f"choose a folder below {tempfile.gettempdir()}"
                )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One `up` or `down` at a time; the kernel releases it, however its holder ends."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
