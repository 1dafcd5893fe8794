"""Discovery and OpenAPI as clients cache them: forms, tags, addresses that never change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import pytest

from app.kinds import ALL
from app.machinery.openapi import v2
from app.machinery.openapi_protobuf import to_protobuf
from tests.api.kubectl import Kubectl

ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
SAID = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
V3 = "/openapi/v3/apis/kubevirt.io/v1alpha1"


async def address_of_v3(client: httpx.AsyncClient) -> str:
    index = (await client.get("/openapi/v3")).json()
    return str(index["paths"]["apis/kubevirt.io/v1alpha1"]["serverRelativeURL"])


@pytest.mark.parametrize("accept", [ASKED, SAID, f"{ASKED}, application/json;q=0.5", f"text/html, {SAID}"])
async def test_openapi_v2_is_protobuf_for_who_asks(client: httpx.AsyncClient, accept: str) -> None:
    answer = await client.get("/openapi/v2", headers={"accept": accept})

    assert (answer.status_code, answer.headers["content-type"]) == (200, SAID)
    assert answer.content == to_protobuf(v2(ALL))
    assert answer.headers["vary"].split(",")[0] == "Accept"


@pytest.mark.parametrize("accept", ["", "*/*", "application/*", "application/json", f"{ASKED};q=0.5, application/json"])
async def test_openapi_v2_is_json_for_everybody_else(client: httpx.AsyncClient, accept: str) -> None:
    answer = await client.get("/openapi/v2", headers={"accept": accept})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == v2(ALL)


@pytest.mark.parametrize(
    ("path", "accept", "varies"),
    [
        ("/openapi/v2", "text/html", "Accept, Accept-Encoding"),
        (V3, "text/html", "Accept"),
        (V3, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", "Accept"),
    ],
)
async def test_openapi_in_no_form_that_is_served_is_406_without_a_body(
    client: httpx.AsyncClient, path: str, accept: str, varies: str
) -> None:
    answer = await client.get(path, headers={"accept": accept})

    assert (answer.status_code, answer.content, answer.headers["vary"]) == (406, b"", varies)


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/openapi/v2", ASKED),
        ("/openapi/v2", "application/json"),
        (V3, "application/json"),
        ("/api", AGGREGATED),
        ("/apis", AGGREGATED),
    ],
)
async def test_who_has_the_document_already_is_told_so(client: httpx.AsyncClient, path: str, accept: str) -> None:
    first = await client.get(path, headers={"accept": accept})
    tag = first.headers["etag"]

    for held in (tag, f'"0", {tag}', f"W/{tag}"):
        again = await client.get(path, headers={"accept": accept, "if-none-match": held})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "content-type" not in again.headers
        assert "content-length" not in again.headers
    other = await client.get(path, headers={"accept": accept, "if-none-match": '"0"'})

    assert (other.status_code, other.content) == (200, first.content)


async def test_the_index_of_openapi_v3_is_known_by_its_date(client: httpx.AsyncClient) -> None:
    first = await client.get("/openapi/v3")
    date = first.headers["last-modified"]

    again = await client.get("/openapi/v3", headers={"if-modified-since": date})
    older = await client.get("/openapi/v3", headers={"if-modified-since": "Thu, 26 Nov 2020 00:00:00 GMT"})
    none = await client.get("/openapi/v3", headers={"if-modified-since": "yesterday"})

    assert "etag" not in first.headers
    assert (again.status_code, again.content) == (304, b"")
    assert (older.status_code, none.status_code) == (200, 200)
    assert older.content == none.content == first.content


async def test_each_form_has_its_own_tag(client: httpx.AsyncClient) -> None:
    forms = [(await client.get("/openapi/v2", headers={"accept": form})).headers["etag"] for form in (ASKED, "*/*")]

    assert forms[0] != forms[1]


async def test_openapi_v3_under_its_hash_lasts_a_year(client: httpx.AsyncClient) -> None:
    answer = await client.get(await address_of_v3(client))

    expires = parsedate_to_datetime(answer.headers["expires"]) - datetime.now(UTC)
    assert timedelta(days=364) < expires < timedelta(days=366)
    assert answer.headers["cache-control"] == "public, immutable"
    assert answer.headers["vary"].split(",")[0] == "Accept"


async def test_an_old_hash_leads_to_the_new_one(client: httpx.AsyncClient) -> None:
    address = await address_of_v3(client)

    old = await client.get(f"{V3}?hash=OLD")
    none = await client.get(f"{V3}?hash=")

    assert (old.status_code, old.headers["location"]) == (301, address)
    assert (old.headers["content-type"], old.content) == ("application/json", b"")
    assert none.status_code == 200
    assert "expires" not in none.headers


async def test_kubectl_explains_from_openapi_v2(kubectl: Kubectl) -> None:
    said = await kubectl("explain", "migration.spec.selector", "--output=plaintext-openapiv2")
    all_of_it = await kubectl("explain", "vm.spec.domain", "--recursive", "--output=plaintext-openapiv2")

    assert "KIND:     Migration" in said
    assert "RESOURCE: selector" in said
    assert "emulator" in all_of_it
