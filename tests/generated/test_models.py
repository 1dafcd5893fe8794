"""Every field of every shape passes through the classes that generators make of the published documents."""

from __future__ import annotations

import pytest

from tests.generated.filled import Filler, same, schemas_of
from tests.generated.generators import Generated, class_key

pytestmark = pytest.mark.xdist_group("generated clients")

KUBEVIRT = "v3/apis/kubevirt.io/v1alpha1.json"
CORE = "v3/api/v1.json"
SWAGGER = "swagger.json"


@pytest.mark.parametrize(
    ("client", "document"),
    [("kubevirt_client", KUBEVIRT), ("core_client", CORE), ("swagger_client", SWAGGER)],
)
def test_no_field_is_lost(request: pytest.FixtureRequest, client: str, document: str) -> None:
    """Every kind that is served, what they are made of, lists, Status and options: read, and written again."""
    generated: Generated = request.getfixturevalue(client)
    models, schemas = generated.models(), schemas_of(document)
    written = {name for name, schema in schemas.items() if schema.get("properties")}

    lost = {}
    for name in sorted(written):
        filled = Filler(schemas).of(name)
        again = models[class_key(name)].from_dict(filled).to_dict()
        if same(again) != same(filled):
            lost[name] = (filled, again)

    assert lost == {}
    assert len(written) > 30


@pytest.mark.parametrize("client", ["kubevirt_client", "core_client"])
def test_openapi_python_client_reads_all_but_yaml(request: pytest.FixtureRequest, client: str) -> None:
    """It makes JSON alone, and says of each body that could be YAML too that it does not."""
    generated: Generated = request.getfixturevalue(client)

    assert set(generated.complaints) <= {
        "Unsupported content type application/yaml",
        "Unsupported content type application/apply-patch+yaml",
    }


def test_openapi_generator_reads_all(swagger_client: Generated) -> None:
    """What may be anything it says to be Any, and a word of Python's it renames; nothing else."""
    said = {complaint.split(" - ", 1)[1] for complaint in swagger_client.complaints}

    assert said <= {
        "Codegen property is null (e.g. map/dict of undefined type). Default to typing.Any.",
        "Continue (reserved word) cannot be used as model name. Renamed to ModelContinue",
        "Failed to get the schema name: null",
    }
