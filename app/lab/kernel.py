"""A kernel for guests: downloaded once as a distribution's package, unpacked into a cache, installed nowhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.lab.errors import LabError
from app.lab.programs import program, require

METAPACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")
"""Debian's, Ubuntu's: each depends on the newest kernel for virtual machines."""
KERNEL_PACKAGE = re.compile(r"linux-(image|modules)-\d")
DOWNLOAD_S = 300.0


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel package."""

    folder: Path

    @property
    def image(self) -> Path:
        return next((self.folder / "boot").glob("vmlinuz-*"))

    def modules(self, *names: str) -> list[Path]:
        """Their files and those of what they depend on, each after what it needs; built-in ones have none."""
        ordered: dict[str, Path] = {}
        for name in names:
            self._collect(name, ordered)
        return list(ordered.values())

    def _collect(self, name: str, ordered: dict[str, Path]) -> None:
        file = next((self.folder / "lib/modules").glob(f"*/kernel/**/{_any_dash(name)}.ko"), None)
        if file is None or name in ordered:
            return
        found = re.search(rb"\0depends=([^\0]*)\0", file.read_bytes())
        for needed in (found.group(1).decode() if found else "").split(","):
            self._collect(needed, ordered)
        ordered[name] = file


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/drover`, `~/.cache/drover`, or for users without a home one in the temporary directory."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "drover"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    folder = Path(tempfile.gettempdir()) / f"drover-cache-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise LabError(f"{folder} belongs to somebody else: set XDG_CACHE_HOME to a folder of your own")
    return folder


def kernel(cache: Path) -> Kernel:
    """The cached one, else downloaded: 27 MB. Two at once do not collide: each unpacks aside, one is kept."""
    for folder in sorted(cache.glob("kernel-*"), reverse=True):
        return Kernel(folder)
    require("apt-get", "dpkg")
    with tempfile.TemporaryDirectory(prefix=".kernel-", dir=cache) as work:
        packages = _download(Path(work))
        unpacked = Path(work, "unpacked")
        for package in packages:
            _run([program("dpkg"), "-x", str(package), str(unpacked)], "unpacking a kernel")
        _plain_modules(unpacked)
        shutil.rmtree(unpacked / "usr", ignore_errors=True)
        keep = cache / f"kernel-{next((unpacked / 'boot').glob('vmlinuz-*')).name.removeprefix('vmlinuz-')}"
        try:
            unpacked.rename(keep)
        except OSError:
            if not keep.exists():  # else another run kept its own, the same, a moment before
                raise
    return Kernel(keep)


def _download(work: Path) -> list[Path]:
    """By the machine's package lists; where they are missing or too old, by fresh ones in a folder of ours."""
    private = work / "apt"
    for folder in (private / "lists" / "partial", private / "archives" / "partial"):
        folder.mkdir(parents=True)
    fresh = ["-o", f"Dir::State::lists={private}/lists", "-o", f"Dir::Cache={private}", "-o", "APT::Sandbox::User="]
    for options in ([], fresh):
        if options:
            _run([program("apt-get"), "update", "-qq", *options], "reading the package lists")
        names = _packages(options)
        command = [program("apt-get"), "download", "-qq", "-o", "APT::Sandbox::User=", *options, *names]
        if names and not (failure := _attempt(command, work)):
            return sorted(work.glob("*.deb"))
    if not names:
        raise LabError(f"no package {' or '.join(METAPACKAGES)} in the package lists: run apt-get update")
    raise LabError(f"cannot download a kernel for the guest ({failure}): check the network, then run apt-get update")


def _packages(options: list[str]) -> list[str]:
    """The kernel's own packages behind the first metapackage that the lists know."""
    for metapackage in METAPACKAGES:
        image = _kernel_dependencies([metapackage], options)
        if image:
            return sorted({*image, *_kernel_dependencies(image, options)})
    return []


def _kernel_dependencies(names: Iterable[str], options: list[str]) -> list[str]:
    command = [program("apt-cache"), "depends", "--no-recommends", "--no-suggests", *options, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    depends = re.findall(r"^\s*\|?Depends: (\S+)", done.stdout, re.MULTILINE)
    return [name for name in depends if KERNEL_PACKAGE.match(name)]


def _plain_modules(unpacked: Path) -> None:
    """Ubuntu compresses modules; the guest's insmod reads plain ones."""
    packed = [str(file) for file in unpacked.glob("lib/modules/*/kernel/**/*.ko.zst")]
    if packed:
        require("zstd")
        _run([program("zstd"), "-dq", "--rm", *packed], "unpacking modules")


def _any_dash(name: str) -> str:
    """`virtio_rng` lies in `virtio-rng.ko`: to the kernel both are one."""
    return re.sub(r"[-_]", "[-_]", name)


def _attempt(command: list[str], folder: Path) -> str:
    """What went wrong; empty if nothing did."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {DOWNLOAD_S:.0f} s"
    lines = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"exit status {done.returncode}")


def _run(command: list[str], what: str) -> None:
    if failure := _attempt(command, Path("/")):
        raise LabError(f"{what} failed: {failure}")
