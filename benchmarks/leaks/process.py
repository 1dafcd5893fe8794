"""The processes that are looked at: `python -m benchmarks.leaks.process serve …` is `drover serve …`, and `work FOLDER HOSTS`
does what `drover work` does with that many simulated hosts. Each says what it holds when it gets SIGUSR1.

The worker takes words on its standard input: `disconnect NAME` breaks the connections to that host, as a restart of its
libvirtd would; the end of the input ends it.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.hypervisor.fake import FakeCloud

FOLDER = "DROVER_LEAKS_FOLDER"
"""The variable that names the folder for what is told."""
TYPES = 40
MEMORY = 64 << 30


def tell(_signal: int, _frame: FrameType | None) -> None:
    """What is left after everything that can be freed was: to a file of this process's."""
    gc.collect()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    objects = gc.get_objects()
    told = {
        "blocks": sys.getallocatedblocks(),
        "threads": threading.active_count(),
        "types": dict(
            Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in objects).most_common(TYPES)
        ),
    }
    del objects
    whole = Path(os.environ[FOLDER]) / f"{os.getpid()}.json"
    part = whole.with_suffix(".part")
    part.write_text(json.dumps(told))
    part.rename(whole)


async def _work(folder: Path, names: list[str]) -> None:
    from app.hypervisor.fake import FakeCloud, FakeHypervisors
    from app.server import first, settle, stop_signals
    from app.settings import Settings
    from app.telemetry import configure_logging
    from app.wiring.service import running
    from app.wiring.workers import Driver
    from benchmarks.leaks.hosts import offered, remote_hosts

    settings = Settings(data_dir=folder, trust_loopback=True)
    configure_logging(settings.log_format)
    cloud = FakeCloud(*names, bandwidth=1 << 40, tick_s=0.005)
    for host in cloud.hosts.values():
        host.memory = MEMORY
    driver = Driver(lambda _calls, _credentials: FakeHypervisors(cloud), lambda _credentials: remote_hosts)
    words = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    with stop_signals() as stop:
        async with (
            offered(cloud, folder / "hosts.sock"),
            running(settings, workers=True, api=False, driver=driver) as service,
        ):
            settle()
            obeying = asyncio.create_task(_obey(cloud, words, stop))
            print("works", flush=True)
            await first(stop, service.failed)
            obeying.cancel()
            await asyncio.wait([obeying])
        await cloud.close()
    if service.failed.is_set():
        sys.exit(1)


async def _obey(cloud: FakeCloud, words: asyncio.StreamReader, stop: asyncio.Event) -> None:
    while line := await words.readline():
        match line.decode().split():
            case ["disconnect", name]:
                cloud.disconnect(name)
            case other:
                raise ValueError(f"BUG: no such word: {other}")
    stop.set()


def main() -> None:
    signal.signal(signal.SIGUSR1, tell)
    what, *rest = sys.argv[1:]
    if what == "work":
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(Path(rest[0]), rest[1:]))
    else:
        from app.main import cli

        sys.argv = ["drover", what, *rest]
        cli()


if __name__ == "__main__":
    main()
