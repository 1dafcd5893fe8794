"""The API over a real store: in process for requests with one answer, behind a real uvicorn for streams and kubectl."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from app.api.application import Api, create_api
from app.kinds import ALL
from app.store.base import Store
from tests.api.builders import make_namespace


@pytest.fixture
async def api(store: Store) -> Api:
    """The API for every kind, over a store with the namespace `default`."""
    await make_namespace(store, "default")
    return create_api(store, ALL, version="v1.36.0+drover-test")


@pytest.fixture
async def client(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Requests without a network in between."""
    transport = httpx.ASGITransport(app=api)
    headers = {"user-agent": "tests/1"}
    async with httpx.AsyncClient(transport=transport, base_url="http://drover", headers=headers) as opened:
        yield opened
