"""Whom a cluster lets vouch for users: its ConfigMap kube-system/extension-apiserver-authentication, read and followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson
import structlog

from app.cluster.base import Change, Cluster
from app.cluster.follow import Follower
from app.machinery.objects import Document

log = structlog.get_logger()

NAME = "extension-apiserver-authentication"
COLLECTION = "/api/v1/namespaces/kube-system/configmaps"
HINT = (
    "kubectl -n kube-system create rolebinding NAME --role=extension-apiserver-authentication-reader "
    "--serviceaccount=NAMESPACE:ACCOUNT"
)
"""What mends a refusal."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What the ConfigMap says. Nothing in it means that nobody is believed."""

    client_authority: str = ""
    """PEM: a certificate of it is a user's own."""
    proxy_authority: str = ""
    """PEM: a certificate of it may speak for others, by headers."""
    proxy_names: tuple[str, ...] = ()
    """Common names that may; none means any."""
    user_headers: tuple[str, ...] = ()
    uid_headers: tuple[str, ...] = ()
    group_headers: tuple[str, ...] = ()
    extra_prefixes: tuple[str, ...] = ()


def trust_of(data: Mapping[str, str]) -> Trust:
    """Raises ValueError for a value that is no JSON list of strings."""
    return Trust(
        data.get("client-ca-file", ""),
        data.get("requestheader-client-ca-file", ""),
        _strings(data, "requestheader-allowed-names"),
        _strings(data, "requestheader-username-headers"),
        _strings(data, "requestheader-uid-headers"),
        _strings(data, "requestheader-group-headers"),
        _strings(data, "requestheader-extra-headers-prefix"),
    )


def _strings(data: Mapping[str, str], name: str) -> tuple[str, ...]:
    text = data.get(name, "")
    if not text:
        return ()
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{name} is no JSON") from error
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} is no list of strings")
    return tuple(value)


class TrustFollower:
    """Keeps `trust` as new as the cluster tells; the last known stays while it does not. `renewed` is told each change,
    and may raise ValueError for what cannot be used: then the former stays."""

    def __init__(self, cluster: Cluster, renewed: Callable[[Trust], None], *, first_s: float = 0.8) -> None:
        self._renewed = renewed
        self.trust = Trust()
        selector = {"fieldSelector": f"metadata.name={NAME}"}
        self._follower = Follower(
            cluster, COLLECTION, self._listed, self._changed, query=selector, hint=HINT, first_s=first_s
        )
        self.known = asyncio.Event()
        """Set once there is an authority to believe by: in a cluster that has just begun there may be none yet."""

    async def run(self) -> None:
        """Until cancelled."""
        await self._follower.run()

    async def _listed(self, items: Sequence[Document]) -> None:
        if not items:
            log.warning("the cluster has no ConfigMap of whom to believe", namespace="kube-system", name=NAME)
        for item in items:
            self._take(item)

    async def _changed(self, change: Change) -> None:
        if change.type in ("ADDED", "MODIFIED"):
            self._take(change.object)

    def _kept(self, trust: Trust) -> Trust:
        """An authority that is told no more stays, as in k8s.io/apiserver: it is replaced, never taken away."""
        return replace(
            trust,
            client_authority=trust.client_authority or self.trust.client_authority,
            proxy_authority=trust.proxy_authority or self.trust.proxy_authority,
        )

    def _take(self, config_map: Document) -> None:
        try:
            trust = self._kept(trust_of(config_map.get("data") or {}))
            if trust != self.trust:
                self._renewed(trust)
                self.trust = trust
                log.info("whom to believe is loaded", proxy_names=trust.proxy_names, headers=trust.user_headers)
            if trust.client_authority or trust.proxy_authority:
                self.known.set()
        except ValueError as error:
            log.warning("whom to believe stays as it was", error=str(error))
