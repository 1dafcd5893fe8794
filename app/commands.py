"""The drover command: what a person types, and what it answers. Every refusal is one clear line; exit status 2, or 3 while the
database is away."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import orjson
import typer
import uvloop
from pydantic import ValidationError

from app.access import AccessError, trust_of
from app.aggregation import ensure_aggregable
from app.api.auth.anonymous import is_loopback
from app.kubeconfig import KubeconfigError, Way, read_kubeconfig
from app.server import Stopped, alive, first, listen, listening, settle, stop_signals, unless, url_of
from app.settings import Settings
from app.telemetry import configure_logging, discreet
from app.tls import TlsError, administrator_of, authority_of, tls_of, way_of, write_certificate
from app.wiring.apis import openapi_documents
from app.wiring.errors import DatabaseAway, Misconfigured
from app.wiring.service import Service, running

drover = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)
lab = typer.Typer(help="Local libvirt hosts on this machine, for trying Drover out.")
drover.add_typer(lab, name="lab")
database = typer.Typer(help="The database, for who restores it.")
drover.add_typer(database, name="db")

AnswerT = TypeVar("AnswerT")

Bind = Annotated[str | None, typer.Option(help="Address to listen on (DROVER_BIND, 127.0.0.1).")]
Port = Annotated[
    int | None, typer.Option(help="Port to listen on; 0 takes a free one (DROVER_PORT, 8443, without TLS 8080).")
]
Tls = Annotated[
    bool | None,
    typer.Option(
        "--tls/--no-tls",
        help="Speak TLS, without --tls-cert with certificates of Drover's own; or plain HTTP, on loopback only (DROVER_TLS, on).",
    ),
]
TrustLoopback = Annotated[
    bool | None,
    typer.Option(
        "--trust-loopback/--no-trust-loopback",
        help="Take whoever reaches loopback without credentials for the administrator (DROVER_TRUST_LOOPBACK, off).",
    ),
]
TlsCert = Annotated[Path | None, typer.Option(help="Certificate to show, PEM (DROVER_TLS_CERT).")]
TlsKey = Annotated[Path | None, typer.Option(help="Its key, PEM (DROVER_TLS_KEY).")]
DataDir = Annotated[
    Path | None, typer.Option(help="Where Drover keeps its own data and certificates (DROVER_DATA_DIR).")
]
LabDir = Annotated[Path | None, typer.Option(help="Where the lab keeps its hosts (DROVER_LAB_DIR).")]
Server = Annotated[str | None, typer.Option(help="Drover's URL (default: that of the settings).")]
ServerCa = Annotated[
    Path | None,
    typer.Option(
        help="What to trust an https server by, PEM (default: the data folder's tls/ca.crt, and the system's)."
    ),
]
Kubeconfig = Annotated[
    Path | None, typer.Option(help="Whom to be, and where, as `drover serve` wrote it (default: the data folder's).")
]
Nodes = Annotated[int, typer.Option(min=1, max=16, help="How many local libvirt hosts.")]


def main() -> int:
    """What was typed, to its end; the exit status. Words that mean nothing are refused like wrong settings: in one line."""
    try:
        status: int | None = drover(sys.argv[1:] or ["--help"], prog_name="drover", standalone_mode=False)
    except typer.TyperException as error:
        print(f"drover: {error.format_message().rstrip('.')}; see --help", file=sys.stderr)
        return 2
    return status or 0


DATABASE_AWAY = 3
"""The exit status where PostgreSQL does not answer: nothing is wrong with what was typed, and later it may."""


def refuse(message: str, status: int = 2) -> NoReturn:
    """One line, and that exit status."""
    print(f"drover: {discreet(message)}", file=sys.stderr)
    raise typer.Exit(status)


def settings_of(**flags: object) -> Settings:
    """Variables, overridden by the flags that were given."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        refuse(f"DROVER_{name}: {first['msg']} (got {first['input']!r})")


@drover.command()
def serve(
    bind: Bind = None,
    port: Port = None,
    data_dir: DataDir = None,
    lab_dir: LabDir = None,
    tls: Tls = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    trust_loopback: TrustLoopback = None,
    workers: Annotated[bool | None, typer.Option(help="Run controllers and workers in this process too.")] = None,
    aggregated: Annotated[
        bool | None, typer.Option(help="Serve behind a cluster, which says who may what (DROVER_AGGREGATED).")
    ] = None,
    cluster: Annotated[
        Path | None,
        typer.Option(
            "--kubeconfig", help="Where that cluster is, and who we are there (DROVER_KUBECONFIG; a Pod's account)."
        ),
    ] = None,
) -> None:
    """The API, with its controllers and workers unless --no-workers."""
    settings = settings_of(
        bind=bind, port=port, data_dir=data_dir, lab_dir=lab_dir, workers=workers,
        tls=tls, tls_cert=tls_cert, tls_key=tls_key, trust_loopback=trust_loopback,
        aggregated=aggregated, kubeconfig=cluster,
    )  # fmt: skip
    _to_the_end(_serve(settings), settings)


@drover.command()
def work(data_dir: DataDir = None) -> None:
    """Controllers and workers only, for a PostgreSQL that other processes share."""
    settings = settings_of(data_dir=data_dir)
    if settings.database_url is None and settings.database_url_file is None:
        refuse(
            "work needs DROVER_DATABASE_URL (or DROVER_DATABASE_URL_FILE): an empty store of its own would have nothing to do"
        )
    _to_the_end(_work(settings), settings)


@drover.command()
def run(
    nodes: Nodes = 3,
    bind: Bind = None,
    port: Port = None,
    data_dir: DataDir = None,
    lab_dir: LabDir = None,
    tls: Tls = None,
    trust_loopback: TrustLoopback = None,
) -> None:
    """Everything on this machine: local libvirt hosts, PostgreSQL, the API and its workers, until Ctrl-C."""
    settings = settings_of(
        bind=bind, port=port, data_dir=data_dir, lab_dir=lab_dir, tls=tls, trust_loopback=trust_loopback
    )
    _to_the_end(_serve(settings, lab_nodes=nodes), settings)


@lab.command("up")
def lab_up(
    nodes: Nodes = 3,
    lab_dir: LabDir = None,
    server: Server = None,
    server_ca: ServerCa = None,
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
) -> None:
    """Start local libvirt hosts and register them as Nodes through the API."""
    from app.lab.errors import LabError
    from app.lab.lab import up

    settings = settings_of(lab_dir=lab_dir, data_dir=data_dir)
    try:
        hosts = asyncio.run(up(settings.lab_dir, nodes, _way(settings, server, server_ca, kubeconfig)))
    except LabError as error:
        refuse(str(error))
    print(f"{', '.join(host.name for host in hosts)}: up as user {hosts.account.name}; try: kubectl get nodes")


@lab.command("down")
def lab_down(
    lab_dir: LabDir = None,
    server: Server = None,
    server_ca: ServerCa = None,
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
) -> None:
    """Stop the local hosts and everything that runs on them; leaves nothing, also after a kill -9."""
    from app.lab.errors import LabError
    from app.lab.lab import down

    settings = settings_of(lab_dir=lab_dir, data_dir=data_dir)
    try:
        asyncio.run(down(settings.lab_dir, _way(settings, server, server_ca, kubeconfig)))
    except LabError as error:
        refuse(str(error))


@drover.command()
def openapi(write: Annotated[Path | None, typer.Option(help="Write the documents into this folder.")] = None) -> None:
    """The OpenAPI documents of the declared kinds."""
    documents = openapi_documents()
    if write is None:
        print(orjson.dumps(documents["swagger.json"], option=orjson.OPT_INDENT_2).decode())
        return
    for name, document in documents.items():
        path = write / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


@drover.command()
def kubeconfig(server: Server = None, server_ca: ServerCa = None, data_dir: DataDir = None) -> None:
    """A kubeconfig for kubectl, on standard output; the administrator's where the data folder holds the certificate."""
    settings = settings_of(data_dir=data_dir)
    where = server or url_of(settings.bind, settings.listen_port, secure=settings.secure)
    certificate, key = administrator_of(settings.data_dir)
    print(Way(where, _authority(settings, server_ca), certificate, key).kubeconfig(), end="")


class Form(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"


Output = Annotated[Form, typer.Option("--output", "-o", help="For people or for programs.")]


@drover.command()
def status(output: Output = Form.TABLE, data_dir: DataDir = None) -> None:
    """Who holds what: processes, hosts and their owners, runs, the queue, and how safe the database is. Asks the database."""
    from app.operations import shown, standing

    found = _asked(standing(settings_of(data_dir=data_dir)))
    print(shown(found) if output is Form.TABLE else orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


@drover.command()
def history(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only of this namespace.")] = None,
    vm: Annotated[str | None, typer.Option(help="Only of this VirtualMachine.")] = None,
    name: Annotated[str | None, typer.Option(help="Only Migrations of this name.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest first.")] = 50,
    output: Output = Form.TABLE,
    data_dir: DataDir = None,
) -> None:
    """Migrations that have ended, also those whose objects are gone, and who asked for them. Asks the database."""
    from app.operations import remembered, shown_history

    found = _asked(remembered(settings_of(data_dir=data_dir), namespace, vm, name, limit))
    print(shown_history(found) if output is Form.TABLE else orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


@database.command("bump")
def database_bump(
    by: Annotated[int, typer.Option(min=1, max=10**12, help="How far.")] = 1_000_000_000, data_dir: DataDir = None
) -> None:
    """After a restore from a backup: move the resourceVersion on, so that every client lists anew (410)."""
    from app.operations import bumped

    print(f"resourceVersion {_asked(bumped(settings_of(data_dir=data_dir), by))}")


@database.command("rotate-token-key")
def database_rotate_token_key(
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Tokens that were signed until now count no longer (401).")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """A new key signs the tokens of service accounts from now on, as one does by itself every 90 days."""
    from app.operations import rotated

    _asked(rotated(settings_of(data_dir=data_dir), revoke=revoke))
    print("a new key signs; " + ("tokens from before count no longer" if revoke else "tokens from before count on"))


def _asked(question: Coroutine[Any, Any, AnswerT]) -> AnswerT:
    """What the database answers, or one line."""
    from app.store.base import StoreError, Unavailable
    from app.store.schema import SchemaTooNew

    try:
        return asyncio.run(question)
    except Unavailable as error:
        refuse(str(error), DATABASE_AWAY)
    except (Misconfigured, StoreError, SchemaTooNew) as error:
        refuse(str(error))


@drover.command()
def certificate(
    directory: Annotated[Path, typer.Option("--dir", help="Where ca.crt, tls.crt and tls.key are kept; ca.pem signs.")],
    service: Annotated[str, typer.Option(help="The Service by which the cluster reaches Drover.")] = "drover",
    namespace: Annotated[str, typer.Option(help="The namespace of that Service.")] = "drover",
) -> None:
    """A serving certificate for Drover behind a cluster, made or renewed; deploy/cluster takes it from there."""
    try:
        write_certificate(directory, service, namespace)
    except TlsError as error:
        refuse(str(error))
    print(f"{directory}: ca.crt (the APIService's caBundle), tls.crt, tls.key for {service}.{namespace}.svc")


def _way(settings: Settings, server: str | None, server_ca: Path | None, kubeconfig: Path | None) -> Way:
    """What was typed, else what `drover serve` wrote, else what the settings say."""
    try:
        written = read_kubeconfig(kubeconfig or settings.data_dir / "kubeconfig")
    except FileNotFoundError as error:
        if kubeconfig is not None:
            refuse(f"cannot read {kubeconfig}: {error.strerror}")
        written = Way(url_of(settings.bind, settings.listen_port, secure=settings.secure))
    except KubeconfigError as error:
        refuse(str(error))
    authority = written.authority if server_ca is None and written.authority else _authority(settings, server_ca)
    return replace(written, server=server or written.server, authority=authority)


def _authority(settings: Settings, given: Path | None) -> str:
    try:
        return authority_of(settings.data_dir, given)
    except TlsError as error:
        refuse(str(error))


def _way_in(data_dir: Path, way: Way) -> str:
    """The line to copy for kubectl. With another PostgreSQL Drover needs no folder: then one that cannot be is no failure."""
    path = data_dir.absolute() / "kubeconfig"
    try:
        way.write(path)
    except OSError as error:
        return f"cannot write {path} ({error.strerror}); for kubectl: drover kubeconfig --server {way.server} > FILE"
    return f"export KUBECONFIG={path}"


def _to_the_end(main: Coroutine[Any, Any, int], settings: Settings) -> NoReturn:
    """Runs a service until a signal; its failures to start are one line each."""
    from app.lab.errors import LabError
    from app.store.base import StoreError, Unavailable
    from app.store.embedded import EmbeddedPostgresError

    configure_logging(settings.log_format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            status = runner.run(main)
    except Stopped:
        status = 0
    except (DatabaseAway, Unavailable) as error:
        refuse(str(error), DATABASE_AWAY)
    except (Misconfigured, TlsError, AccessError, EmbeddedPostgresError, LabError, StoreError) as error:
        refuse(str(error))
    raise typer.Exit(status)


async def _serve(settings: Settings, lab_nodes: int = 0) -> int:
    ensure_aggregable(settings)
    tls = tls_of(settings)
    trust = trust_of(settings) if tls is None else tls.trust
    listener = listen(settings.bind, settings.listen_port)
    way = way_of(url_of(settings.bind, listener.getsockname()[1], secure=settings.secure), tls)
    with stop_signals() as stop:
        async with AsyncExitStack() as stack:
            renewed = (lambda: None) if tls is None else tls.renew
            async with unless(stop), alive(listener, tls):
                service = await stack.enter_async_context(
                    running(settings, workers=settings.workers, trust=trust, renewed=renewed)
                )
                await first(service.failed, service.ready)
            if not service.ready.is_set():
                return 1
            serving = await stack.enter_async_context(listening(service, listener, tls))
            settle()
            way_in = "behind a cluster" if settings.aggregated else _way_in(settings.data_dir, way)
            print(f"Drover serves {way.server}\n{way_in}", flush=True)
            if lab_nodes:
                await _lab_until(stop, service, settings, lab_nodes, way)
            else:
                await first(stop, service.failed)
            stopped_by_itself = service.failed.is_set() or serving.done()
    return 1 if stopped_by_itself else 0


async def _lab_until(stop: asyncio.Event, service: Service, settings: Settings, nodes: int, way: Way) -> None:
    from app.lab.lab import down, up

    try:
        await up(settings.lab_dir, nodes, way)
        print(f"{nodes} local hosts are up; try: kubectl get nodes", flush=True)
        offering = asyncio.create_task(_offer_guest(settings), name="guest")
        try:
            await first(stop, service.failed)
        finally:
            offering.cancel()
            await asyncio.wait([offering])
    finally:
        await down(settings.lab_dir, way)


async def _offer_guest(settings: Settings) -> None:
    """Files to try it with; the first time on a machine a guest's kernel is downloaded for them."""
    from app.lab.errors import LabError
    from app.lab.hosts import LabHosts
    from app.lab.manifests import write_manifests

    try:
        files = await asyncio.to_thread(write_manifests, LabHosts.of(settings.lab_dir), settings.data_dir)
    except LabError as error:
        print(f"drover: there is no guest to try: {error}", file=sys.stderr)
    else:
        print("\n".join(f"kubectl create -f {file}" for file in files), flush=True)


def for_health(settings: Settings) -> Settings:
    """The settings of a worker's listener: in the clear, and asking nobody, on loopback alone."""
    here = is_loopback(settings.health_bind)
    return settings.model_copy(
        update={
            "bind": settings.health_bind,
            "port": settings.health_port,
            "aggregated": False,
            "tls": not here,
            "tls_cert": None if here else settings.tls_cert,
            "tls_key": None if here else settings.tls_key,
            "trust_loopback": here,
        }
    )


async def _work(settings: Settings) -> int:
    settings = for_health(settings)
    tls = tls_of(settings)
    trust = trust_of(settings) if tls is None else tls.trust
    listener = listen(settings.bind, settings.listen_port)
    health = url_of(settings.bind, listener.getsockname()[1], secure=settings.secure)
    with stop_signals() as stop:
        async with AsyncExitStack() as stack:
            async with unless(stop), alive(listener, tls):
                service = await stack.enter_async_context(running(settings, workers=True, api=False, trust=trust))
            serving = await stack.enter_async_context(listening(service, listener, tls))
            print(f"Drover works; its health and metrics: {health}/readyz, {health}/metrics", flush=True)
            await first(stop, service.failed)
            stopped_by_itself = service.failed.is_set() or serving.done()
    return 1 if stopped_by_itself else 0
