"""The manifests as kubectl renders them, and the cluster's schemas of them as the official Python client has them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes.client.models as models
import yaml
from pydantic import ValidationError

from tests.api.kubectl import PROGRAM

ROOT = Path(__file__).parents[2]
OVERLAYS = ("own-certificate", "cert-manager", "outside")

Document = dict[str, Any]


def rendered(overlay: str, folder: Path, certificate: Path) -> list[Document]:
    """What `kubectl apply -k` would send; a certificate as `drover certificate` makes it is put where the overlay wants it."""
    copy = folder / overlay
    shutil.copytree(ROOT / "deploy" / "cluster", copy, ignore=shutil.ignore_patterns("tls"))
    shutil.copytree(certificate, copy / "overlays" / overlay / "tls")
    printed = subprocess.run(
        [PROGRAM, "kustomize", copy / "overlays" / overlay],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert printed.returncode == 0, printed.stderr
    return [_folded(document) for document in yaml.safe_load_all(printed.stdout) if document]


def _folded(document: Document) -> Document:
    """Kustomize breaks base64 into lines, which Go does not mind and others do."""
    if document["kind"] == "APIService" and "caBundle" in document["spec"]:
        document["spec"]["caBundle"] = "".join(document["spec"]["caBundle"].split())
    return document


def wrong(document: Document) -> Iterator[str]:
    """What the cluster's schema of the kind refuses: unknown fields, other types, missing required ones."""
    version = document["apiVersion"].rpartition("/")[2]
    model = getattr(models, f"{version[0].upper()}{version[1:]}{document['kind']}")
    try:
        model.model_validate(document)
    except ValidationError as error:
        for problem in error.errors():
            yield f"{'.'.join(map(str, problem['loc']))}: {problem['type']}"


def of_kind(documents: Sequence[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


def name_of(document: Document) -> tuple[str, str]:
    return document["metadata"].get("namespace", ""), document["metadata"]["name"]


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()
