"""What an operator asks: who holds what, what became of a Migration and who wanted it, and a bump after a restore."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import DROVER, KUBEVIRT, ROOT, Drover, environment, eventually

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("operations")]


@pytest.fixture(scope="module")
def service() -> Iterator[Drover]:
    """One `drover serve` and one `drover work`, without hosts; writes are audited to a file."""
    directory = Path(tempfile.mkdtemp(prefix="drover-ops-"))
    directory.chmod(0o711)
    home = directory / "home"
    home.mkdir()
    env = environment(home) | {"DROVER_AUDIT_LOG": str(directory / "audit.jsonl")}
    made = Drover(directory, directory / "lab", directory / "log", flags=("--no-workers",), env=env)
    try:
        made.start()
        made.start_worker()
        yield made
    finally:
        made.stop_workers()
        if made.process is not None and made.process.poll() is None:
            made.stop()
        shutil.rmtree(directory)


def asked(service: Drover, *words: str) -> Any:
    return json.loads(service.command(*words, "-o", "json", "--data-dir", str(service.directory / "data")))


def test_status_says_who_is_there_and_who_holds_what(service: Drover) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "h1"}}
    node["spec"] = {"providerID": "qemu+unix:///session?socket=/nonexistent/sock"}
    assert service.request("POST", "/api/v1/nodes", node).status_code == 201

    def owned() -> Any:
        found = asked(service, "status")
        return found if found["nodes"][0]["holder"] else None

    found = eventually("h1 has an owner", owned)

    (worker,) = [process for process in found["processes"] if process["works"]]
    assert found["nodes"] == [
        {"name": "h1", "holder": worker["name"], "leaseLeftSeconds": found["nodes"][0]["leaseLeftSeconds"]}
    ]
    assert (worker["leads"], worker["nodes"], worker["runs"]) == (True, 1, 0)
    assert len(found["processes"]) == 2
    assert {lease["name"] for lease in found["leases"]} == {"controllers", "node/h1", f"agents/{worker['name']}"}
    database = found["database"]
    assert (database["durability"], database["schema"]) == ("single", database["programSchema"])
    shown = service.command("status", "--data-dir", str(service.directory / "data"))
    assert "durability: single" in shown and worker["name"] in shown and "WARNING" not in shown


def test_history_outlives_the_object_and_names_who_asked(service: Drover) -> None:
    service.migrate("nobody", "doomed")
    service.finished("doomed")
    path = f"{KUBEVIRT}/namespaces/default/migrations/doomed"
    uid = service.migration("doomed")["metadata"]["uid"]
    assert service.request("DELETE", path).status_code == 200

    def remembered() -> Any:
        found = asked(service, "history", "--name", "doomed")
        return found if found and len(found[0]["requests"]) == 2 else None

    (record,) = eventually("it is in the history", remembered)

    assert (record["uid"], record["vm"], record["outcome"], record["reason"]) == (uid, "nobody", "Failed", "VMNotFound")
    assert [(one["verb"], one["user"], one["sourceIP"]) for one in record["requests"]] == [
        ("create", "system:admin", "127.0.0.1"),
        ("delete", "system:admin", "127.0.0.1"),
    ]
    shown = service.command("history", "--vm", "nobody", "--data-dir", str(service.directory / "data"))
    assert "default/doomed" in shown and "VMNotFound" in shown and "system:admin" in shown
    audited = [json.loads(line) for line in (service.directory / "audit.jsonl").read_text().splitlines()]
    about = [event for event in audited if event["objectRef"].get("name") == "doomed"]
    assert [(event["verb"], event["responseStatus"]["code"]) for event in about] == [("create", 201), ("delete", 200)]
    assert [event["auditID"] for event in about] == [one["auditID"] for one in record["requests"]]


def test_a_bump_sends_clients_back_to_their_list(service: Drover) -> None:
    before = int(service.get("/api/v1/nodes")["metadata"]["resourceVersion"])

    told = service.command("db", "bump", "--by", "5000", "--data-dir", str(service.directory / "data"))

    reached = int(told.split()[-1])
    assert reached >= before + 5000
    assert int(service.get("/api/v1/nodes")["metadata"]["resourceVersion"]) >= reached
    watch = f"/api/v1/nodes?watch=1&timeoutSeconds=1&resourceVersion={before}"
    # One that began before the server had noticed just ends.
    eventually("an older watch is sent back", lambda: '"code":410' in service.request("GET", watch).text)


def test_without_a_database_it_is_one_line(tmp_path: Path) -> None:
    variables = {"DROVER_DATABASE_URL": "postgresql://drover@127.0.0.1:1/postgres"}
    done = subprocess.run(
        [*DROVER, "status"], cwd=ROOT, env=environment(tmp_path) | variables, capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1 and "PostgreSQL" in done.stderr


def test_revoked_tokens_of_service_accounts_count_no_longer(service: Drover) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts"
    assert service.request("POST", path, {"metadata": {"name": "robot"}}).status_code == 201

    def status(token: str) -> int:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        answer = service.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review).json()
        return 200 if answer["status"].get("authenticated") else 401

    token = service.request("POST", f"{path}/robot/token", {}).json()["status"]["token"]
    first = status(token)
    told = service.command("db", "rotate-token-key", "--revoke", "--data-dir", str(service.directory / "data"))
    eventually("the token counts no longer", lambda: status(token) == 401)
    newer = service.request("POST", f"{path}/robot/token", {}).json()["status"]["token"]

    assert (first, status(newer)) == (200, 200)
    assert "count no longer" in told
