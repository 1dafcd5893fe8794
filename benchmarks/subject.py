"""Who is measured: a Kubernetes API server (Drover or any other), or the yardstick; and what a correct answer of it is."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

Document = dict[str, Any]


class WrongAnswer(Exception):
    """The server answered, but not what it was asked for."""


@dataclass(frozen=True)
class Subject:
    """A server and the collection that is measured."""

    title: str
    url: str
    collection: str
    """The path that is posted to."""
    ca: Path | None = None
    """What its certificate is trusted by; None trusts any (wrk does not look at it either)."""
    token: str = ""
    api_version: str = "kubevirt.io/v1alpha1"
    pid: int = 0
    """The process that serves, where it is on this machine: what it computes is told too."""

    @property
    def headers(self) -> Mapping[str, str]:
        held = {"Content-Type": "application/json", "Accept": "application/json"}
        return held | ({"Authorization": f"Bearer {self.token}"} if self.token else {})

    @cached_property
    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        if self.ca is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @cached_property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=dict(self.headers), verify=self.trust, timeout=60)

    def migration(self, name: str) -> Document:
        """What is created: a Migration as people write it, with a label."""
        return {
            "apiVersion": self.api_version,
            "kind": "Migration",
            "metadata": {"name": name, "labels": {"app": "bench"}},
            "spec": {"selector": {"name": f"vm-{name}"}},
        }

    def template(self, prefix: str) -> str:
        """The body of a create; each @ becomes the request's number."""
        return json.dumps(self.migration(f"{prefix}-@"), separators=(",", ":"))

    def create(self, name: str) -> Document:
        """Raises WrongAnswer."""
        return self.ask("POST", self.collection, 201, content=json.dumps(self.migration(name)))

    def ensure_stored(self, name: str) -> None:
        """The object reads as it was written. Raises WrongAnswer."""
        found, wanted = self.ask("GET", f"{self.collection}/{name}", 200), self.migration(name)
        metadata = found.get("metadata", {})
        kept = {
            "apiVersion": found.get("apiVersion"),
            "kind": found.get("kind"),
            "metadata": {"name": metadata.get("name"), "labels": metadata.get("labels")},
            "spec": {"selector": found.get("spec", {}).get("selector")},
        }
        if kept != wanted:
            raise WrongAnswer(f"{name} was written as {wanted} and reads as {found}")

    def ask(self, method: str, path: str, code: int, **request: Any) -> Document:
        """One request outside the measured ones. Raises WrongAnswer."""
        answer = self.client.request(method, path, **request)
        if answer.status_code != code:
            raise WrongAnswer(f"{method} {path}: {answer.status_code} instead of {code}: {answer.text[:300]}")
        document: Document = answer.json()
        return document
