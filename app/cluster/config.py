"""Where the cluster is and who we are there: a Pod's service account, or a kubeconfig."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""What the kubelet puts into every container of a Pod."""


class ClusterConfigError(ValueError):
    """The cluster cannot be reached as configured; the text is one line that says what to change."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Something in a file, which may be replaced at any time, or given as it is."""

    path: Path | None = None
    text: str = ""

    def read(self) -> str:
        """Raises ClusterConfigError."""
        if self.path is None:
            return self.text
        try:
            return self.path.read_text()
        except OSError as error:
            raise ClusterConfigError(f"cannot read {self.path}: {error.strerror}") from error

    def stamp(self) -> tuple[object, ...]:
        """Another one after the file was replaced. Raises ClusterConfigError."""
        if self.path is None:
            return ()
        try:
            seen = self.path.stat()
        except OSError as error:
            raise ClusterConfigError(f"cannot read {self.path}: {error.strerror}") from error
        return (seen.st_ino, seen.st_size, seen.st_mtime_ns)

    def __bool__(self) -> bool:
        return self.path is not None or bool(self.text)

    def __repr__(self) -> str:
        return f"Secret({self.path or '…'})"


NONE = Secret()


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How to reach a kube-apiserver."""

    server: str
    """https://host:port"""
    authority: Secret = NONE
    """PEM; none leaves it to the system."""
    server_name: str = ""
    """Whom its certificate must name, where that is not the server's host."""
    token: Secret = NONE
    certificate: Secret = NONE
    key: Secret = NONE


def in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT) -> ClusterConfig:
    """As the Pod's service account. Raises ClusterConfigError outside a Pod."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise ClusterConfigError(
            "this is no Pod (KUBERNETES_SERVICE_HOST is not set): name the cluster with --kubeconfig or DROVER_KUBECONFIG"
        )
    if not (account / "token").exists():
        raise ClusterConfigError(
            f"there is no {account / 'token'}: the Pod needs its service account's token (automountServiceAccountToken)"
        )
    shown = f"[{host}]" if ":" in host else host
    return ClusterConfig(f"https://{shown}:{port}", Secret(account / "ca.crt"), token=Secret(account / "token"))


def from_kubeconfig(path: Path) -> ClusterConfig:
    """By its current context. Raises ClusterConfigError for what it lacks, and for plugins, which are not run."""
    try:
        config = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ClusterConfigError(f"cannot read the kubeconfig {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ClusterConfigError(f"the kubeconfig {path} is no YAML") from error
    if not isinstance(config, dict):
        raise ClusterConfigError(f"the kubeconfig {path} holds no configuration")
    context = _named(path, config, "contexts", "context", config.get("current-context") or "")
    cluster = _named(path, config, "clusters", "cluster", context.get("cluster") or "")
    user = _named(path, config, "users", "user", context["user"]) if context.get("user") else {}
    return _config_of(path, cluster, user)


def _config_of(path: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ClusterConfig:
    server = str(cluster.get("server") or "")
    if not server.startswith("https://"):
        raise ClusterConfigError(f"the kubeconfig {path} must name an https:// server, since credentials go there")
    if cluster.get("insecure-skip-tls-verify"):
        raise ClusterConfigError(
            f"the kubeconfig {path} trusts any server (insecure-skip-tls-verify): give its certificate-authority"
        )
    for unsupported in ("exec", "auth-provider", "username", "as"):
        if user.get(unsupported):
            raise ClusterConfigError(
                f"the kubeconfig {path} says who we are by `{unsupported}`: use a token, tokenFile or client certificate"
            )
    token = _secret(path, user, "tokenFile", None) or Secret(text=str(user.get("token") or ""))
    return ClusterConfig(
        server.rstrip("/"),
        _secret(path, cluster, "certificate-authority", "certificate-authority-data"),
        str(cluster.get("tls-server-name") or ""),
        token,
        _secret(path, user, "client-certificate", "client-certificate-data"),
        _secret(path, user, "client-key", "client-key-data"),
    )


def _named(path: Path, config: Mapping[str, Any], plural: str, singular: str, name: str) -> Mapping[str, Any]:
    for entry in config.get(plural) or ():
        if isinstance(entry, dict) and entry.get("name") == name:
            found = entry.get(singular) or {}
            if isinstance(found, dict):
                return found
    raise ClusterConfigError(f"the kubeconfig {path} has no {singular} {name!r}")


def _secret(path: Path, entry: Mapping[str, Any], file: str, data: str | None) -> Secret:
    """Data wins over a file, as in client-go; files are beside the kubeconfig."""
    if data is not None and entry.get(data):
        try:
            return Secret(text=b64decode(str(entry[data]), validate=True).decode())
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ClusterConfigError(f"the kubeconfig {path}: {data} is no base64 text") from error
    return Secret(path.parent / str(entry[file])) if entry.get(file) else NONE
