"""Finished Migrations by the million, copied in by SQL: the bytes are those that the API itself stored for one of them."""

from __future__ import annotations

from benchmarks.services import Bench
from benchmarks.subject import Subject, WrongAnswer

PAGE = 500
TEMPLATE = "template"


def store_one(subject: Subject) -> None:
    """A finished Migration, through the API. Raises WrongAnswer."""
    subject.create(TEMPLATE)
    path = f"{subject.collection}/{TEMPLATE}"
    status = {
        "phase": "Succeeded",
        "conditions": [
            {"type": "Scheduled", "status": "True", "reason": "NodeFound", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Succeeded", "status": "True", "reason": "Moved", "lastTransitionTime": "2026-01-01T00:00:09Z"},
        ],
        "migrationState": {
            "sourceNode": "node0", "targetNode": "node1", "completed": True,
            "startTimestamp": "2026-01-01T00:00:00Z", "endTimestamp": "2026-01-01T00:00:09Z", "downtimeMs": 40,
        },
    }  # fmt: skip
    merge = {"Content-Type": "application/merge-patch+json"}
    subject.ask("PATCH", f"{path}/status", 200, json={"status": status}, headers=merge)


def copy(bench: Bench, database: str, rows: int) -> None:
    """So many more like it, `finished-0000001` and so on, as if they had been created long ago: the log has forgotten them."""
    bench.execute(
        database,
        f"""
        INSERT INTO objects (resource, namespace, name, uid, revision, body)
        SELECT o.resource, o.namespace, n.name, n.uid, n.revision, convert_to(replace(replace(replace(replace(
                   convert_from(o.body, 'UTF8'), o.uid, n.uid), '"resourceVersion":"' || o.revision || '"',
                   '"resourceVersion":"' || n.revision || '"'), 'vm-{TEMPLATE}', 'vm-' || n.name),
                   '{TEMPLATE}"', n.name || '"'), 'UTF8')
        FROM objects o, LATERAL (
            SELECT 'finished-' || lpad(i::text, 7, '0') AS name, gen_random_uuid()::text AS uid, c.revision + i AS revision
            FROM counter c, generate_series(1, {rows}) AS i
        ) AS n
        WHERE o.name = '{TEMPLATE}'""",
        f"UPDATE counter SET revision = revision + {rows}",
        "VACUUM (ANALYZE) objects",
        "CHECKPOINT",
    )


def walked(subject: Subject, rows: int) -> list[str]:
    """Every page of the collection once: all names in order, and what is left said exactly on each page. Paths of some of
    the pages, all of them full, and none the first: that one is served from memory whatever there is. Raises
    WrongAnswer."""
    first = f"{subject.collection}?limit={PAGE}"
    paths, path, seen, last = [], first, 0, ""
    total = rows + 1
    while path:
        page = subject.ask("GET", path, 200)
        names = [item["metadata"]["name"] for item in page["items"]]
        seen += len(names)
        if names != sorted(names) or names[0] <= last:
            raise WrongAnswer(f"{path} is out of order: {names[0]} after {last}")
        last = names[-1]
        if page["metadata"].get("remainingItemCount", 0) != total - seen:
            raise WrongAnswer(f"{path} says that {page['metadata'].get('remainingItemCount')} remain of {total - seen}")
        token = page["metadata"].get("continue")
        path = f"{first}&continue={token}" if token else ""
        if path and total - seen >= PAGE:
            paths.append(path)
    if seen != total:
        raise WrongAnswer(f"{seen} objects were listed of {total}")
    return paths[:: max(1, len(paths) // 20)]


def first_pages(subject: Subject, limit: int) -> list[str]:
    """Paths of the first twenty pages."""
    first = f"{subject.collection}?limit={limit}"
    paths, token = [first], subject.ask("GET", first, 200)["metadata"].get("continue")
    while token and len(paths) < 20:
        paths.append(f"{first}&continue={token}")
        token = subject.ask("GET", paths[-1], 200)["metadata"].get("continue")
    return paths
