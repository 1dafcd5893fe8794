"""
Sets of certificates and keys by which hosts are reached: folders of one directory, chosen by name, never by a path.

    DIRECTORY/NAME/cacert.pem, clientcert.pem, clientkey.pem      for qemu+tls, as libvirt names them
    DIRECTORY/NAME/ssh-privatekey, known_hosts                    for qemu+ssh, as Kubernetes names the former
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from app.hypervisor.base import Unreachable

DEFAULT = "default"
"""The set of hosts that name none, where there is one; else libvirt's own places count."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TLS = ("cacert.pem", "clientcert.pem", "clientkey.pem")
_SSH = ("ssh", "libssh", "libssh2")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Only names of files go into a URI; what is in them is read by libvirt. Can be sent to another process."""

    directory: Path | None = None

    def address(self, uri: str, name: str = "") -> str:
        """The URI by which libvirt reaches that host with that set. Raises Unreachable, saying which file is missing."""
        folder, parts = self._folder(name), urlsplit(uri)
        driver, _, transport = parts.scheme.partition("+")
        if folder is None or transport not in ("tls", *_SSH):
            return uri
        if transport == "tls":
            return _with(uri, _tls(folder, bool(name)))
        found = _ssh(folder, bool(name))
        # The program ssh takes no file of known hosts from libvirt; libssh2, which is built into libvirt, does. So does
        # libssh, but with it libvirt 9 waits on for answers that have come.
        known = "known_hosts" in found and transport == "ssh"
        return _with(uri, found, f"{driver}+libssh2" if known else "")

    def client_certificate(self, uri: str, name: str = "") -> Path | None:
        """The file that is shown to that host over qemu+tls; None where none is."""
        parts = urlsplit(uri)
        if parts.scheme.partition("+")[2] != "tls":
            return None
        given = dict(parse_qsl(urlsplit(self.address(uri, name)).query)).get("pkipath")
        if given:
            return Path(given, "clientcert.pem")
        own = () if os.geteuid() == 0 else (Path.home() / ".pki/libvirt/clientcert.pem",)
        return next((path for path in (*own, Path("/etc/pki/libvirt/clientcert.pem")) if path.is_file()), None)

    def _folder(self, name: str) -> Path | None:
        if name and not _NAME.fullmatch(name):
            raise Unreachable(f"credentials {name!r}: no name of a set")
        if self.directory is None:
            if name:
                raise Unreachable(f"credentials {name!r} are asked for, but DROVER_HOST_CREDENTIALS names no directory")
            return None
        folder = self.directory / (name or DEFAULT)
        if folder.is_dir():
            return folder
        if name:
            raise Unreachable(f"credentials {name!r}: no such folder in DROVER_HOST_CREDENTIALS")
        return None


def _tls(folder: Path, chosen: bool) -> Mapping[str, str]:
    missing = [file for file in _TLS if not (folder / file).is_file()]
    if not missing:
        return {"pkipath": str(folder)}
    if chosen or len(missing) < len(_TLS):
        raise Unreachable(f"credentials {folder.name!r} lack {', '.join(missing)}")
    return {}


def _ssh(folder: Path, chosen: bool) -> Mapping[str, str]:
    key, known = folder / "ssh-privatekey", folder / "known_hosts"
    if not key.is_file():
        if chosen:
            raise Unreachable(f"credentials {folder.name!r} lack ssh-privatekey")
        return {}
    found = {"keyfile": str(key), "no_tty": "1"}
    if known.is_file():
        found |= {"known_hosts": str(known), "known_hosts_verify": "normal", "sshauth": "privkey"}
    return found


def _with(uri: str, parameters: Mapping[str, str], scheme: str = "") -> str:
    """What the set says wins over what the URI says."""
    parts = urlsplit(uri)
    kept = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key not in parameters]
    query = urlencode([*kept, *parameters.items()], safe="/")
    return urlunsplit(parts._replace(scheme=scheme or parts.scheme, query=query))
