"""Clients that are generated once for all tests of a worker, and a server for them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.api.processes import line, running
from tests.generated.filled import OPENAPI
from tests.generated.generators import Generated, by_openapi_generator, by_openapi_python_client


@pytest.fixture(scope="session")
def clients_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where generated packages lie; on Python's path meanwhile."""
    folder = tmp_path_factory.mktemp("clients")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def kubevirt_client(clients_folder: Path) -> Generated:
    """By openapi-python-client, of kubevirt.io/v1alpha1."""
    return by_openapi_python_client(OPENAPI / "v3/apis/kubevirt.io/v1alpha1.json", clients_folder, "drover_kubevirt")


@pytest.fixture(scope="session")
def core_client(clients_folder: Path) -> Generated:
    """By openapi-python-client, of v1."""
    return by_openapi_python_client(OPENAPI / "v3/api/v1.json", clients_folder, "drover_core")


@pytest.fixture(scope="session")
def swagger_client(clients_folder: Path) -> Generated:
    """By openapi-generator, of the one v2 document."""
    return by_openapi_generator(OPENAPI / "swagger.json", clients_folder, "drover_swagger")


@dataclass(frozen=True)
class Server:
    """An API process."""

    url: str
    authority: Path
    """What its certificate is trusted by."""


@pytest.fixture
async def secure(postgres_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    """The API alone, over TLS, in a process of its own: generated clients block."""
    async with running("serve", postgres_url, "30", "0", str(tmp_path)) as process:
        yield Server(await line(process), tmp_path / "tls" / "ca.crt")
