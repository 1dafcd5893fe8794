"""Requests made of the published OpenAPI, right and wrong ones: no answer is a failure of ours, or undocumented.

Objects that the requests may hit exist from the start. Some are deleted on the way, which is as good.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.store.postgres import PostgresStore
from tests.api.builders import MACHINES, MIGRATIONS, NODES, machine, make_namespace, make_pod, migration, node, pod
from tests.api.processes import line, running

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    "v3/apis/kubevirt.io/v1alpha1.json",
    "v3/api/v1.json",
    "v3/apis/authorization.k8s.io/v1.json",
    "v3/apis/authentication.k8s.io/v1.json",
]
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance"
)
NOT_HERE = "/watch/|/eviction$|/finalize$|/serviceaccounts/[^/]+/token$"
"""Watches, which end when the client likes, and what is bound by the service around the API."""


@pytest.fixture
async def url(postgres_url: str, store: PostgresStore) -> AsyncIterator[str]:
    """An API process with one object of each kind."""
    await make_namespace(store, "default")
    await make_namespace(store, "other")
    await make_pod(store, pod())
    async with running("serve", postgres_url, "30") as process:
        address = await line(process)
        async with httpx.AsyncClient(base_url=address, timeout=20) as client:
            for path, document in (
                (NODES, node()),
                (MACHINES, machine(nodeSelector={"a": "b"})),
                (MIGRATIONS, migration(nodeSelector={"c": "d"})),
            ):
                assert (await client.post(path, json=document)).status_code == 201
        yield address


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", DOCUMENTS)
async def test_requests_at_random_get_documented_answers(url: str, document: str, tmp_path: Path) -> None:
    await conforms(url, document, tmp_path, "--phases", "fuzzing", "--max-examples", "3", "--seed", "7", timeout_s=280)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("document", DOCUMENTS)
async def test_every_edge_of_every_schema_gets_a_documented_answer(url: str, document: str, tmp_path: Path) -> None:
    """Each constraint kept and broken in turn, long random runs, and requests that use what others made."""
    await conforms(
        url,
        document,
        tmp_path,
        "--phases",
        "examples,coverage,fuzzing,stateful",
        "--max-examples",
        "20",
        "--max-time",
        "300",
        timeout_s=1100,
    )


async def conforms(url: str, document: str, folder: Path, *words: str, timeout_s: float) -> None:
    """Runs to its end, and says what was wrong and how to ask for it again."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "schemathesis",
        "--config-file", ROOT / "tests/api/schemathesis.toml",
        "run", ROOT / "openapi" / document, "--url", url,
        "--checks", CHECKS, "--exclude-path-regex", NOT_HERE,
        "--request-timeout", "20", "--continue-on-failure", "--no-shrink", "--no-color",
        "--suppress-health-check", "all", "--warnings", "off", "--generation-database", "none",
        *words,
        cwd=folder, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(timeout_s):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert process.returncode == 0, said.decode()[-20_000:]
    assert b"No issues found" in said, said.decode()[-5_000:]
