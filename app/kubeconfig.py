"""What kubectl needs to know of a Drover: written for people, and read again by the lab."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_TEXT = """\
apiVersion: v1
kind: Config
clusters:
- name: drover
  cluster: {{server: "{server}"{trust}}}
contexts:
- name: drover
  context: {{cluster: drover, user: drover, namespace: default}}
current-context: drover
users:
- name: drover
  user: {{{user}}}
"""


@dataclass(frozen=True, slots=True)
class Way:
    """How a Drover is reached, and as whom."""

    server: str
    authority: str = ""
    """What an https server is trusted by, as PEM; "" leaves it to the client's system."""
    certificate: str = ""
    key: str = ""
    """The client's own, as PEM."""
    token: str = ""

    def kubeconfig(self) -> str:
        """The file's text."""
        secure = self.server.startswith("https:")
        trust = f', certificate-authority-data: "{_encoded(self.authority)}"' if secure and self.authority else ""
        user = []
        if secure and self.certificate:
            user += [
                f'client-certificate-data: "{_encoded(self.certificate)}"',
                f'client-key-data: "{_encoded(self.key)}"',
            ]
        if self.token:
            user.append(f'token: "{self.token}"')
        return _TEXT.format(server=self.server, trust=trust, user=", ".join(user))

    def write(self, path: Path) -> None:
        """For the owner's eyes only: it holds a key. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(self.kubeconfig())
        new.replace(path)


class KubeconfigError(Exception):
    """No kubeconfig of the form that Drover writes; the text is one line that names the file."""


def read_kubeconfig(path: Path) -> Way:
    """The current context's way, with what stands in the file itself. Raises KubeconfigError, FileNotFoundError."""
    try:
        document = yaml.safe_load(path.read_text())
        context = _named(document, "contexts", document["current-context"])["context"]
        cluster = _named(document, "clusters", context["cluster"])["cluster"]
        user = _named(document, "users", context["user"])["user"]
        return Way(
            cluster["server"],
            _decoded(cluster.get("certificate-authority-data")),
            _decoded(user.get("client-certificate-data")),
            _decoded(user.get("client-key-data")),
            user.get("token", ""),
        )
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KubeconfigError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, StopIteration, ValueError, NoBase64) as error:
        raise KubeconfigError(f"{path} is no kubeconfig that says who one is: {error!r}") from error


def _named(document: Any, section: str, name: str) -> Any:
    return next(entry for entry in document[section] if entry["name"] == name)


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def _decoded(data: str | None) -> str:
    return b64decode(data, validate=True).decode() if data else ""
