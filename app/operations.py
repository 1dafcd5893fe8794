"""What an operator asks the database itself, so that it is answered while no API process runs: who holds what, a bump,
and a new key for tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from app.access import signing_keys_of
from app.controllers.agents import MEMBER, SERVES
from app.controllers.leader import LEADS
from app.controllers.migration.observe import status_of, vm_name
from app.kinds import MIGRATION, NODE
from app.kinds.migration import FINAL, Priority
from app.machinery.objects import Document
from app.settings import Settings
from app.store.base import Asked, Lease, Run, Scope, Stored
from app.store.embedded import EmbeddedPostgres
from app.store.postgres import PostgresStore
from app.store.schema import head
from app.store.standing import ADVICE, Database, Process
from app.wiring.database import database_url

OVER = tuple(f'"phase":"{phase.value}"'.encode() for phase in FINAL)
"""What stands in the body of every Migration that has ended."""


@asynccontextmanager
async def looking(settings: Settings) -> AsyncIterator[PostgresStore]:
    """The store as it is: not migrated, and no server is started for it. Its methods raise Unavailable."""
    url = database_url(settings) or EmbeddedPostgres(settings.data_dir).url
    store = PostgresStore(url)
    try:
        yield store
    finally:
        await store.close()


async def bumped(settings: Settings, by: int) -> int:
    """The revision that was reached."""
    async with looking(settings) as store:
        return await store.bump(by)


async def rotated(settings: Settings, *, revoke: bool) -> None:
    """A new key signs tokens; running processes hear of it within a second."""
    async with looking(settings) as store:
        await store.open()
        keys = signing_keys_of(settings, store)
        await (keys.revoke() if revoke else keys.rotate())


async def standing(settings: Settings) -> Document:
    """Everything that `drover status` tells."""
    async with looking(settings) as store:
        database, processes = await store.database(), await store.processes()
        leases, runs = await store.leases.held(), await store.runs.unfinished()
        nodes = [stored.key.name for stored in (await store.objects.list(Scope(NODE.resource))).items]
        waiting = await store.unmarked(MIGRATION.resource, OVER)
    now = datetime.now(UTC)
    return {
        "database": _database(database),
        "processes": _processes(processes, leases, runs),
        "nodes": _nodes(nodes, leases, now),
        "runs": [_run(run, now) for run in runs],
        "migrations": [_migration(stored) for stored in waiting],
        "leases": [_lease(lease, now) for lease in leases],
    }


async def remembered(
    settings: Settings, namespace: str | None, vm: str | None, name: str | None, limit: int
) -> list[Document]:
    """What `drover history` tells, the newest first."""
    async with looking(settings) as store:
        past = await store.history.read(namespace=namespace, subject=vm, name=name, limit=limit)
        asked = await store.history.requests([one.uid for one in past])
    requests = defaultdict[str, list[Asked]](list)
    for request in asked:
        requests[request.object_uid].append(request)
    return [one.record | {"requests": [_request(request) for request in requests[str(one.uid)]]} for one in past]


def _request(asked: Asked) -> Document:
    return {
        "at": _stamp(asked.at),
        "verb": asked.verb,
        "user": asked.username,
        "groups": list(asked.groups),
        "sourceIP": asked.address,
        "userAgent": asked.agent,
        "auditID": asked.audit_id,
        "code": asked.code,
    }


def _database(found: Database) -> Document:
    told: Document = {
        "servers": list(found.servers),
        "version": found.version,
        "durability": found.durability.value,
        "standbys": list(found.standbys),
        "schema": found.schema,
        "programSchema": head(),
        "revision": found.revision,
        "compactedTo": found.floor,
        "bytes": found.bytes,
    }
    if found.durability in ADVICE:
        told["warning"] = ADVICE[found.durability]
    return told


def _processes(seen: Sequence[Process], leases: Sequence[Lease], runs: Sequence[Run]) -> list[Document]:
    """Those that are connected, and those that are not (any more) and still hold something."""
    hosts, held = defaultdict[str, int](int), defaultdict[str, int](int)
    works, leads = set(), set()
    for lease in leases:
        hosts[lease.holder] += lease.name.startswith(SERVES)
        works |= {lease.holder} if lease.name.startswith(MEMBER) else set()
        leads |= {lease.holder} if lease.name == LEADS else set()
    for run in runs:
        held[run.holder] += bool(run.holder)
    known = {process.name: process for process in seen}
    holders = {lease.holder for lease in leases} | {run.holder for run in runs if run.holder}
    return [
        {
            "name": name,
            "address": known[name].address if name in known else None,
            "connectedSince": _stamp(known[name].since) if name in known else None,
            "leads": name in leads,
            "works": name in works,
            "nodes": hosts[name],
            "runs": held[name],
        }
        for name in sorted(known.keys() | holders)
    ]


def _nodes(names: Iterable[str], leases: Sequence[Lease], now: datetime) -> list[Document]:
    served = {lease.name.removeprefix(SERVES): lease for lease in leases if lease.name.startswith(SERVES)}
    return [
        {"name": name, "holder": served[name].holder if name in served else None,
         "leaseLeftSeconds": _left(served[name].until, now) if name in served else None}
        for name in names
    ]  # fmt: skip


def _run(run: Run, now: datetime) -> Document:
    return {
        "migration": f"{run.migration.namespace}/{run.migration.name}",
        "source": run.source,
        "target": run.target,
        "attempt": run.attempt,
        "state": run.state.value,
        "holder": run.holder or None,
        "takeovers": max(0, run.token - 1),
        "cancelled": run.cancelled,
        "leaseLeftSeconds": _left(run.lease_until, now),
    }


def _migration(stored: Stored) -> Document:
    status = status_of(stored.document)
    waits = next((condition for condition in reversed(status.conditions) if condition.status == "False"), None)
    return {
        "migration": f"{stored.key.namespace}/{stored.key.name}",
        "vm": vm_name(stored.document),
        "phase": status.phase.value or "New",
        "priority": stored.document["spec"].get("priority") or Priority.USER_TRIGGERED.value,
        "created": stored.document["metadata"]["creationTimestamp"],
        "reason": waits.reason if waits else "",
    }


def _lease(lease: Lease, now: datetime) -> Document:
    left = _left(lease.until, now)
    return {"name": lease.name, "holder": lease.holder, "token": lease.token, "leaseLeftSeconds": left}


def _left(until: datetime | None, now: datetime) -> float | None:
    """By this machine's clock, which may differ from the database's: for people to read."""
    return None if until is None else round((until - now).total_seconds(), 1)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# For people.


def shown(found: Document) -> str:
    """As tables."""
    database = found["database"]
    lines = [
        f"PostgreSQL {database['version']} at {', '.join(database['servers'])}, {database['bytes'] >> 20} MiB; "
        f"schema {database['schema'] or 'none'}, revision {database['revision']}",
        f"durability: {database['durability']}"
        + (f", standbys {', '.join(database['standbys'])}" if database["standbys"] else ""),
    ]
    if "warning" in database:
        lines.append(f"WARNING: {database['warning']}")
    if database["schema"] != database["programSchema"]:
        lines.append(f"WARNING: this program works with schema {database['programSchema']}")
    for title, rows, columns in (
        ("PROCESS", found["processes"], ("address", "connectedSince", "leads", "works", "nodes", "runs")),
        ("NODE", found["nodes"], ("holder", "leaseLeftSeconds")),
        ("RUN", found["runs"],
         ("source", "target", "attempt", "state", "holder", "takeovers", "cancelled", "leaseLeftSeconds")),
        ("MIGRATION", found["migrations"], ("vm", "phase", "priority", "reason", "created")),
    ):  # fmt: skip
        lines += ["", *table(title, rows, columns)]
    return "\n".join(lines)


def shown_history(records: Sequence[Document]) -> str:
    """One line each."""
    columns = ("vm", "outcome", "reason", "source", "target", "attempts", "ended", "bytes", "downtime", "by")
    rows = [
        {
            "name": f"{record['namespace']}/{record['name']}",
            **{name: record.get(name) for name in ("vm", "outcome", "reason", "source", "target", "ended")},
            "attempts": len(record["attempts"]),
            "bytes": record.get("bytesProcessed"),
            "downtime": None if record.get("downtimeMs") is None else f"{record['downtimeMs']}ms",
            "by": next((asked["user"] for asked in record["requests"] if asked["verb"] in ("create", "patch")), None),
        }
        for record in records
    ]
    return "\n".join(table("NAME", rows, columns))


def table(title: str, rows: Sequence[Document], columns: Sequence[str]) -> list[str]:
    """Rows under headings as kubectl prints them; the first column is the row's name or its migration."""
    first = {"RUN": "migration", "MIGRATION": "migration"}.get(title, "name")
    cells = [[title, *(_heading(column) for column in columns)]]
    cells += [[_cell(row[column]) for column in (first, *columns)] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns) + 1)]
    return ["   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _heading(column: str) -> str:
    return {"leaseLeftSeconds": "LEASE", "connectedSince": "SINCE"}.get(column, column.upper())


def _cell(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.0f}s"
        case _:
            return str(value)
