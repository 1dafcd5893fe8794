"""The demonstration: three local hosts, a guest that ticks, and `kubectl create -f migration.yaml` moves it."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from app.kubeconfig import Way
from app.lab.accelerator import accelerator
from app.lab.errors import LabError
from app.lab.hosts import LabHosts
from app.lab.kubectl import Kubectl
from app.lab.lab import down, up
from app.lab.manifests import console, write_manifests
from app.lab.meter import Meter, Silence
from app.lab.served import last_words, served

HOSTS = 3
GUEST, MIGRATION = "testvm", "testvm-migration"
BOOT_S = 90.0
MOVE_S = 120.0
TICKS_BEFORE, TICKS_AFTER = 20, 20
LOOK_S = 0.25
REMIND_S = 10.0
"""Nothing changed for so long: say that it still goes on."""
FIELDS = ("creationTimestamp", "name", "namespace", "resourceVersion", "selfLink", "uid")
FINISHED = ("Succeeded", "Failed")
EMULATED = " (it is emulated: on a busy machine QEMU may leave a page behind, see README; try again on a quieter one)"
TICK_LINE = re.compile(r"tick \d+$")

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Moved:
    """What was seen of the move, each thing where it cannot be made up."""

    machine: Object
    migration: Object
    as_yaml: str
    before: list[str]
    """The hosts that had a QEMU process of the guest, by the machine's process table."""
    after: list[str]
    heard: Silence


class Story:
    """Tells what happens, and how long it has taken so far."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._last = ""
        self._said = self._start

    def tell(self, line: str) -> None:
        self._last, self._said = line, time.monotonic()
        print(f"{self._said - self._start:6.1f} s  {line}", flush=True)

    def follow(self, line: str) -> None:
        """Only what is new, and a sign of life."""
        if line != self._last or time.monotonic() - self._said > REMIND_S:
            self.tell(line)


async def demo(story: Story) -> Moved:
    """From nothing to a moved guest, and back to nothing."""
    async with workplace() as folder:
        lab = folder / "lab"
        story.tell(f"working in {folder}; everything is stopped and removed at the end")
        story.tell("starting Drover: PostgreSQL, the API and its workers")
        async with served(folder, lab) as way, standing(lab, way) as hosts:
            story.tell(f"Drover serves {way.server}; {HOSTS} libvirt hosts are up as user {hosts.account.name}")
            try:
                return await move(story, hosts, Kubectl(way, folder), folder)
            except LabError:
                print(f"what Drover said last:\n{last_words(folder)}", file=sys.stderr)
                raise


@asynccontextmanager
async def workplace() -> AsyncIterator[Path]:
    """A folder that nobody else uses. Root's database and hosts run as another user, who must pass through."""
    folder = _passable_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _passable_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="drover-"))
    folder.chmod(0o711)
    return folder


@asynccontextmanager
async def standing(lab: Path, way: Way) -> AsyncIterator[LabHosts]:
    try:
        yield await up(lab, HOSTS, way)
    finally:
        await down(lab, way)


async def move(story: Story, hosts: LabHosts, kubectl: Kubectl, folder: Path) -> Moved:
    story.tell("preparing a Linux guest; the first time a kernel is downloaded (27 MB)")
    machine_file, migration_file = await asyncio.to_thread(write_manifests, hosts, folder)
    await kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=30s")
    with Meter(console(hosts, GUEST)) as boot:
        story.tell(f"kubectl create -f {machine_file.name}")
        await kubectl("create", "-f", str(machine_file))
        await until(lambda: running(story, kubectl), BOOT_S, f"{GUEST} is not Running")
        story.tell("the guest boots; it will print a tick every 100 ms")
        await listen(boot, 1, console(hosts, GUEST))
    machine = await kubectl.get("virtualmachines", GUEST)
    before = holders(hosts, machine["metadata"]["uid"])
    story.tell(f"the guest ticks on {' and '.join(before)}")
    with Meter(console(hosts, GUEST)) as meter:
        await listen(meter, TICKS_BEFORE, console(hosts, GUEST))
        story.tell(f"kubectl create -f {migration_file.name}")
        await kubectl("create", "-f", str(migration_file))
        await until(lambda: finished(story, kubectl), MOVE_S, f"{MIGRATION} did not end")
        await listen(meter, TICKS_AFTER, console(hosts, GUEST))
        heard = meter.read()
    print(f"\n$ kubectl get migrations\n{await kubectl('get', 'migrations')}")
    as_yaml = await kubectl("get", "migrations", MIGRATION, "-o", "yaml")
    print(f"$ kubectl get migrations {MIGRATION} -o yaml\n{as_yaml}")
    return Moved(
        machine=await kubectl.get("virtualmachines", GUEST),
        migration=await kubectl.get("migrations", MIGRATION),
        as_yaml=as_yaml,
        before=before,
        after=holders(hosts, machine["metadata"]["uid"]),
        heard=heard,
    )


async def running(story: Story, kubectl: Kubectl) -> bool:
    machine = await kubectl.get("virtualmachines", GUEST)
    status = machine.get("status") or {}
    story.follow(f"{GUEST}: {status.get('phase') or 'new'} {status.get('nodeName') or ''}".rstrip())
    if status.get("phase") in FINISHED:
        raise LabError(f"{GUEST} ended before it was moved: {status}")
    return bool(status.get("phase") == "Running")


async def finished(story: Story, kubectl: Kubectl) -> bool:
    migration = await kubectl.get("migrations", MIGRATION)
    status = migration.get("status") or {}
    story.follow(f"{MIGRATION}: {described(status)}")
    return status.get("phase") in FINISHED


def described(status: Object) -> str:
    """A Migration's status in one line."""
    state, progress = status.get("migrationState") or {}, status.get("progress") or {}
    words = [status.get("phase") or "new"]
    if state.get("targetNode"):
        words.append(f"{state.get('sourceNode')} → {state['targetNode']}")
    if "percent" in progress:
        words.append(f"{progress['percent']} %")
    if "dataRemainingBytes" in progress:
        words.append(f"{progress['dataRemainingBytes'] >> 20} MiB left")
    return ", ".join(words)


def holders(hosts: LabHosts, uuid: str) -> list[str]:
    """The hosts on which a QEMU process has the guest: from the process table, not from Drover."""
    return [host.name for host in hosts if any(uuid in " ".join(guest.arguments()) for guest in host.guests())]


async def listen(meter: Meter, ticks: int, guest_console: Path, timeout_s: float = BOOT_S) -> None:
    """Until so many more came; a guest that says something else instead, a panic perhaps, is quoted."""
    if await asyncio.to_thread(meter.wait_for_ticks, ticks, timeout_s):
        return
    silent = f"the guest fell silent: not {ticks} ticks within {timeout_s:.0f} s"
    emulated = "" if accelerator() == "kvm" else EMULATED
    raise LabError(f"{silent}{emulated}; its console ends with:\n{await asyncio.to_thread(console_end, guest_console)}")


def console_end(guest_console: Path, lines: int = 40) -> str:
    """What a guest said last; of ticks in a row only the last."""
    if not guest_console.exists():
        return "(nothing: no console)"
    said = [line.rstrip() for line in guest_console.read_text(errors="replace").splitlines()]
    kept = [line for line, after in pairwise([*said, ""]) if not (TICK_LINE.match(line) and TICK_LINE.match(after))]
    return "\n".join(kept[-lines:]) or "(nothing)"


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float, otherwise: str) -> None:
    """Asks again and again, as a person at the keyboard would."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110 (kubectl is asked: no event tells)
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise LabError(f"{otherwise} within {timeout_s:.0f} s") from None


def findings(moved: Moved) -> dict[str, bool]:
    """What must be so, in words, and whether it is."""
    shown = yaml.safe_load(moved.as_yaml)
    metadata, state = shown.get("metadata") or {}, moved.migration["status"].get("migrationState") or {}
    node = moved.machine["status"].get("nodeName")
    return {
        "the Migration Succeeded": shown.get("status", {}).get("phase") == "Succeeded",
        f"it shows {', '.join(FIELDS)} and its spec": (
            all(metadata.get(field) for field in FIELDS) and shown.get("spec", {}).get("selector") == {"name": GUEST}
        ),
        "one host had the guest's QEMU process before, another one has it now": (
            len(moved.before) == len(moved.after) == 1 and moved.before != moved.after
        ),
        "Drover says the same nodes": (
            [state.get("sourceNode")] == moved.before and [state.get("targetNode")] == [node] == moved.after
        ),
        "libvirt told the downtime": isinstance(state.get("downtimeMs"), int),
        "the guest's counter is unbroken": moved.heard.unbroken,
    }


def conclude(moved: Moved) -> int:
    """The figures and the verdict; the exit status."""
    state = moved.migration["status"].get("migrationState") or {}
    print(f"node before:        {', '.join(moved.before)}")
    print(f"node after:         {', '.join(moved.after)}")
    print(f"libvirt's downtime: {state.get('downtimeMs')} ms")
    print(f"guest was silent:   {moved.heard.longest_s * 1000:.0f} ms, the largest gap between ticks less their 100 ms")
    print(f"guest's ticks:      {moved.heard.ticks}, {moved.heard.lost} lost, {moved.heard.repeated} repeated\n")
    found = findings(moved)
    for words, so in found.items():
        print(f"{'ok    ' if so else 'NOT SO'}  {words}")
    return 0 if all(found.values()) else 1


async def to_the_end() -> int:
    """Ctrl-C and SIGTERM stop everything, once: further ones do not hurry the cleaning."""
    loop = asyncio.get_running_loop()
    story = Story()
    task = asyncio.create_task(demo(story))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop_once(task, story))
    try:
        moved = await task
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print("demo: interrupted; everything it started is stopped", file=sys.stderr)
        return 130
    status = conclude(moved)
    story.tell("done: everything is stopped again")
    return status


def _stop_once(task: asyncio.Task[Moved], story: Story) -> Callable[[], None]:
    def stop() -> None:
        if not task.cancelling():
            story.tell("stopping everything")
            task.cancel()

    return stop


if __name__ == "__main__":
    sys.exit(asyncio.run(to_the_end()))
