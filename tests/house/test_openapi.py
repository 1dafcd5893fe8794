"""openapi/ holds what the declared kinds say: written anew by `make openapi`, compared here."""

from __future__ import annotations

from pathlib import Path

import orjson

from app.wiring.apis import openapi_documents

FOLDER = Path(__file__).resolve().parents[2] / "openapi"


def test_the_documents_are_up_to_date() -> None:
    on_disk = {str(path.relative_to(FOLDER)): orjson.loads(path.read_bytes()) for path in FOLDER.rglob("*.json")}

    assert on_disk == openapi_documents(), "openapi/ is out of date: `make openapi` writes it anew"
