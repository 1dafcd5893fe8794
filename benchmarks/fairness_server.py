"""The API in a process of its own for the fairness benchmark: its own database, TLS, and three users who may do everything but
are no administrators.

`drover serve`'s own parts, but for who may do what: that costs every user the same, and roles would have to be made first.
"""

from __future__ import annotations

import asyncio
import os
import re
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import uvloop

from app.api.application import create_api
from app.api.auth.gate import Gate
from app.api.auth.tokenfile import TokenFile
from app.kinds import ALL
from app.machinery.access import ALLOWED, Attributes, User, Verdict
from app.server import first, listen, listening, settle, stop_signals, url_of
from app.settings import Settings
from app.store.base import Key
from app.store.postgres import PostgresStore
from app.tls import tls_of
from app.wiring.service import Service
from benchmarks.services import ROOT, bench

FLOODER, READER, WATCHER = "token-of-the-flooder", "token-of-the-reader", "token-of-the-watcher"
START_S = 60.0
STAMP = "2026-01-01T00:00:00Z"


@contextmanager
def serving(objects: int) -> Iterator[tuple[str, Path]]:
    """Its URL, and what to trust it by; so many Migrations are stored."""
    with bench() as stand:
        stand.create_database("fairness")
        folder = stand.folder / "fairness"
        folder.mkdir(mode=0o711)
        users = folder / "users.csv"
        users.write_text("".join(f"{token},{token},{token}\n" for token in (FLOODER, READER, WATCHER)))
        command = [sys.executable, "-m", "benchmarks.fairness_server", str(folder), str(objects)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=clean | {"DROVER_DATABASE_URL": stand.url_of("fairness")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield _url(process), folder / "tls" / "ca.crt"
        finally:
            process.terminate()
            process.wait(20)
            assert process.stdout is not None
            process.stdout.close()


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as readable:
        readable.register(process.stdout, selectors.EVENT_READ)
        if readable.select(START_S) and (found := re.search(r"https://\S+", process.stdout.readline())):
            return found.group()
    process.kill()
    raise RuntimeError("the server did not start")


class _Everything:
    async def authorize(self, _user: User, _asked: Attributes) -> Verdict:
        return ALLOWED


async def _fill(store: PostgresStore, objects: int) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "uid": "n"}}
    await store.objects.create(Key("namespaces", "", "default"), namespace)
    for number in range(0, objects, 100):
        await asyncio.gather(*(_put(store, one) for one in range(number, min(objects, number + 100))))


async def _put(store: PostgresStore, number: int) -> None:
    name = f"m{number}"
    document = {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "Migration",
        "metadata": {
            "name": name, "namespace": "default", "uid": f"u{number}", "creationTimestamp": STAMP, "generation": 1,
            "labels": {"app": "fairness", "number": str(number)}, "annotations": {"note": "x" * 200},
        },
        "spec": {"selector": {"name": f"vm{number}"}},
        "status": {"phase": "Succeeded", "conditions": [
            {"type": "Succeeded", "status": "True", "reason": "Moved", "message": "the guest runs on the target",
             "lastTransitionTime": STAMP}]},
    }  # fmt: skip
    await store.objects.create(Key("migrations.kubevirt.io", "default", name), orjson.loads(orjson.dumps(document)))


async def _serve(folder: Path, objects: int) -> None:
    settings = Settings(data_dir=folder, port=0)
    assert settings.database_url is not None
    store = PostgresStore(settings.database_url.get_secret_value())
    await store.open()
    try:
        await _fill(store, objects)
        gate = Gate(TokenFile(folder / "users.csv"), _Everything())
        api = create_api(store, ALL, version="v1.36.0+drover-benchmark", gate=gate)
        tls, listener = tls_of(settings), listen("127.0.0.1", 0)
        with stop_signals() as stop:
            async with listening(Service(api, asyncio.Event(), api.end_streams), listener, tls):
                settle()
                print(url_of("127.0.0.1", listener.getsockname()[1], secure=True), flush=True)
                await first(stop)
    finally:
        await store.close()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
