"""KubeVirt's own API of 2017 is a part of ours: its paths, verbs, parameters and shapes, and a client made of its document.

data/kubevirt_2017_swagger.json is KubeVirt's, under the Apache License 2.0, without its descriptions, its replica sets,
its consoles and its discovery.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.machinery.objects import Document
from tests.api.builders import machine, make_namespace, migration
from tests.generated.conftest import Server
from tests.generated.filled import OPENAPI
from tests.generated.generators import Generated, by_openapi_generator
from tests.generated.test_openapi_generator import connected

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("generated clients")]

THEIRS: Document = json.loads((Path(__file__).parent / "data" / "kubevirt_2017_swagger.json").read_bytes())
OURS: Document = json.loads((OPENAPI / "v3/apis/kubevirt.io/v1alpha1.json").read_bytes())

GONE_PARAMETERS = {"export", "exact"}
"""Of reads. Kubernetes took them away: it refuses to export, and what else it does not know in a query it does not look at."""
GONE_FIELDS = {
    "v1.Disk.cloudinit",  # no cloud-init
    "v1.ObjectMeta.clusterName",  # Kubernetes took it away
    "v1.ObjectMeta.initializers",  # Kubernetes took them away
}
STRICTER = {"v1.Migration.spec"}
"""Required here. There a Migration without one was taken, and had no selector by which to move anything."""
NO_ANSWERS = {"application/json;stream=watch", "application/json-patch+json"}
"""Said to be produced: the form of events, which is JSON, and what a patch is sent as."""
ITEM_WATCH = "watch"
"""Of the reads of one object: it never had an effect in Kubernetes."""


def ours_of(schema: Document) -> Document:
    """What a reference of ours leads to."""
    reference = schema.get("$ref") or (schema["allOf"][0]["$ref"] if "allOf" in schema else None)
    if reference is None:
        return schema
    found: Document = OURS["components"]["schemas"][reference.rsplit("/", 1)[-1]]
    return ours_of(found)


def differences(theirs: Document, ours: Document, path: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Whatever somebody may send or read by their schema, and not by ours."""
    ours = ours_of(ours)
    if "$ref" in theirs:
        name = theirs["$ref"].rsplit("/", 1)[-1]
        if name not in above:
            yield from differences(THEIRS["definitions"][name], ours, name, (*above, name))
        return
    if ours.get("type") not in (theirs.get("type"), None) and not (theirs.get("type") is None or theirs == {}):
        yield f"{path}: {theirs.get('type')} is {ours.get('type')}"
    if theirs.get("type") == "array":
        yield from differences(theirs["items"], ours.get("items", {}), f"{path}[]", above)
    known = ours.get("properties", {})
    for name, below in theirs.get("properties", {}).items():
        if name in known:
            yield from differences(below, known[name], f"{path}.{name}", above)
        elif f"{path}.{name}" not in GONE_FIELDS:
            yield f"{path}.{name} is missing"
    if "properties" in theirs:
        more = {f"{path}.{name}" for name in set(ours.get("required", ())) - set(theirs.get("required", ()))}
        yield from (f"{name} is required" for name in more - STRICTER)


def answers(operation: Document) -> list[Document]:
    """The schemas of ours that a success may have."""
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    choices: list[Document] = schema.get("anyOf", [schema])
    return choices


@pytest.mark.parametrize("path", THEIRS["paths"])
def test_a_path_of_theirs_is_one_of_ours(path: str) -> None:
    ours = OURS["paths"][path]
    shared = {(parameter["name"], parameter["in"]) for parameter in ours["parameters"]}

    for verb, operation in THEIRS["paths"][path].items():
        known = shared | {(parameter["name"], parameter["in"]) for parameter in ours[verb].get("parameters", ())}
        gone = GONE_PARAMETERS | ({ITEM_WATCH} if path.endswith("{name}") else set())
        wanted = {(p["name"], p["in"]) for p in operation.get("parameters", ()) if p["in"] != "body"}
        assert {(name, place) for name, place in wanted - known if name not in gone} == set()
        for media in operation.get("consumes", ()):
            if "requestBody" in ours[verb]:
                assert media in ours[verb]["requestBody"]["content"]
        success = ours[verb]["responses"]["200"]["content"]
        assert set(operation.get("produces", ())) - NO_ANSWERS <= set(success)


@pytest.mark.parametrize("path", THEIRS["paths"])
def test_what_is_sent_and_answered_there_has_the_shape_that_it_had(path: str) -> None:
    for verb, operation in THEIRS["paths"][path].items():
        ours = OURS["paths"][path][verb]
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "body":
                sent = ours["requestBody"]["content"]["application/json"]["schema"]
                assert list(differences(parameter["schema"], sent, "body")) == []
        for code, answer in operation["responses"].items():
            # A watch was said to answer with a list; it answered with events, as it does here.
            if code.startswith("2") and "schema" in answer and "/watch/" not in path:
                assert any(not list(differences(answer["schema"], choice, "answer")) for choice in answers(ours))


@pytest.mark.parametrize("name", THEIRS["definitions"])
def test_a_definition_of_theirs_is_one_of_ours(name: str) -> None:
    """By its name, and field by field; those without fields are words or empty objects."""
    definition = THEIRS["definitions"][name]
    short = name.removeprefix("v1.")
    places = (f"io.kubevirt.v1alpha1.{short}", f"io.k8s.apimachinery.pkg.apis.meta.v1.{short}")
    ours = next(
        (OURS["components"]["schemas"][place] for place in places if place in OURS["components"]["schemas"]), None
    )

    if short.startswith(("CloudInit", "Initializer")):
        assert ours is None
    elif ours is None:
        assert not definition.get("properties"), f"{name} is nowhere"
    else:
        assert list(differences(definition, ours, name)) == []


def repaired() -> Document:
    """Their document with what some operations forgot to say: whom they are for, and that a patch is sent, not answered."""
    document = copy.deepcopy(THEIRS)
    patch = {"name": "body", "in": "body", "required": True, "schema": {"type": "array", "items": {"type": "object"}}}
    for operations in document["paths"].values():
        named = [parameter for parameter in operations["get"]["parameters"] if parameter["in"] == "path"]
        for verb, operation in operations.items():
            said = operation.setdefault("parameters", [patch] if verb == "patch" else [])
            if verb == "patch":
                operation |= {"consumes": operation["produces"], "produces": ["application/json"]}
            said += [parameter for parameter in named if parameter["name"] not in [known["name"] for known in said]]
    return document


@pytest.fixture(scope="session")
def old_client(clients_folder: Path) -> Generated:
    """By openapi-generator, of KubeVirt's document of 2017."""
    (clients_folder / "2017.json").write_text(json.dumps(repaired()))
    return by_openapi_generator(clients_folder / "2017.json", clients_folder, "kubevirt_2017")


async def test_a_client_made_of_their_document_works_here(old_client: Generated, secure: Server, store: Any) -> None:
    await make_namespace(store, "default")
    await asyncio.to_thread(life_of_both_kinds, old_client, secure)


def life_of_both_kinds(generated: Generated, server: Server) -> None:
    with connected(generated, server) as client:
        api = generated.module("api.default_api").DefaultApi(client)
        for kind, plural, document in (
            ("VirtualMachine", "virtual_machine", machine(nodeSelector={"a": "b"})),
            ("Migration", "migration", migration(nodeSelector={"c": "d"})),
        ):
            name = document["metadata"]["name"]

            def call(verb: str, *arguments: Any, _plural: str = plural, **more: Any) -> Any:
                return getattr(api, f"{verb}_namespaced_{_plural}")(*arguments, **more)

            # create, read, list
            made = call("create", "default", generated.model(f"v1.{kind}").from_dict(document))
            read = call("read", name, "default", export=False, exact=True, watch=True)
            assert (made.kind, made.spec.node_selector, read) == (kind, document["spec"]["nodeSelector"], made)
            listed = call("list", "default")
            everywhere = getattr(api, f"list_{plural}_for_all_namespaces")(field_selector=f"metadata.name={name}")
            assert [item.metadata.name for item in listed.items] == [name]
            assert everywhere.items == listed.items

            # patch, replace
            patched = call(
                "update", name, "default", [{"op": "add", "path": "/metadata/labels", "value": {"team": "a"}}]
            )
            patched.metadata.annotations = {"note": "by a client of 2017"}
            replaced = call("replace", "default", name, patched)
            assert (replaced.metadata.labels, replaced.metadata.annotations) == (
                {"team": "a"},
                patched.metadata.annotations,
            )

            # watch: from the creation on, by both old paths and by the parameter
            since = {"resource_version": made.metadata.resource_version, "timeout_seconds": 1}
            for watched in (
                getattr(api, f"watch_namespaced_{plural}_without_preload_content")("default", **since),
                getattr(api, f"watch_{plural}_list_for_all_namespaces_without_preload_content")(**since),
                getattr(api, f"list_{plural}_for_all_namespaces_without_preload_content")(watch=True, **since),
            ):
                events = [json.loads(said) for said in watched.data.splitlines()]
                decoded = [generated.model(f"v1.{kind}").from_dict(event["object"]) for event in events]
                assert [event["type"] for event in events] == ["MODIFIED", "MODIFIED"]
                assert decoded[-1] == replaced

            # delete one, then all: both are kept for a while by their finalizers
            options = generated.model("v1.DeleteOptions")(gracePeriodSeconds=0)
            leaving = call("delete", "default", name, options)
            left = getattr(api, f"deletecollection_namespaced_{plural}")("default")
            assert leaving.metadata.deletion_timestamp is not None
            assert [item.metadata.name for item in left.items] == [name]
