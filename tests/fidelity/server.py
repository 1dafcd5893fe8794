"""A server as a kubeconfig names it, asked by raw HTTP/1.1: nothing is added that the case does not say."""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.cluster.config import ClusterConfig, Secret, from_kubeconfig
from tests.fidelity.case import Case, Sent, filled

PATIENCE_S = 30.0
"""For an answer; a watch must say itself how long it lasts."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    sent: Sent
    code: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    @property
    def content(self) -> bytes:
        """The body, unpacked."""
        packed = ("content-encoding", "gzip") in ((name.lower(), value) for name, value in self.headers)
        return gzip.decompress(self.body) if packed else self.body

    @property
    def document(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.content)
        except ValueError:
            return None


class Server:
    """May be used by several threads: each case has a connection of its own."""

    def __init__(self, kubeconfig: Path) -> None:
        config = from_kubeconfig(kubeconfig)
        parts = urlsplit(config.server)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._tls = _tls(config)
        self._token = config.token.read().strip() if config.token else ""

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, self._port, timeout=PATIENCE_S, context=self._tls)

    def ask(self, connection: http.client.HTTPSConnection, sent: Sent) -> Answer:
        """One request. Raises OSError and http.client.HTTPException."""
        headers = dict(sent.headers)
        if self._token:
            headers.setdefault("Authorization", f"Bearer {self._token}")
        connection.putrequest(sent.method, sent.path, skip_accept_encoding=True)
        if sent.body is not None or sent.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(len(sent.body or b""))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(sent.body)
        answer = connection.getresponse()
        body = answer.read()
        if answer.will_close:
            connection.close()
        return Answer(sent, answer.status, tuple(answer.getheaders()), body)

    def _answered(self, connection: http.client.HTTPSConnection, sent: Sent) -> Answer:
        """No answer is an answer, too: of code 0, with the error."""
        try:
            return self.ask(connection, sent)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return Answer(sent, 0, (), f"{type(error).__name__}: {error}".encode())

    def run(self, case: Case, names: Mapping[str, str]) -> list[Answer]:
        """All requests of a case, in their order."""
        connection = self.connect()
        try:
            if case.namespaced:
                self.ask(connection, _room(names["$ns"]))
            answers: list[Answer] = []
            for ask in case.asks:
                sent = filled(ask, names, [answer.document for answer in answers])
                answers.append(self._answered(connection, sent))
            return answers
        finally:
            connection.close()


def _room(name: str) -> Sent:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "fidelity/1"}
    return Sent("POST", "/api/v1/namespaces", json.dumps(body).encode(), headers)


def _tls(config: ClusterConfig) -> ssl.SSLContext:
    authority = config.authority.read() if config.authority else None
    context = ssl.create_default_context(cadata=authority)
    if config.certificate:
        with tempfile.TemporaryDirectory() as folder:
            certificate = _file(Path(folder) / "certificate", config.certificate)
            context.load_cert_chain(certificate, _file(Path(folder) / "key", config.key))
    return context


def _file(path: Path, secret: Secret) -> Path:
    """The ssl module takes files only."""
    path.touch(mode=0o600)
    path.write_text(secret.read())
    return path
