"""Serving behind a cluster: from the settings to its client, whom it lets vouch for users, and the gate that asks it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from app.access import AccessError, Trust
from app.api.auth.base import AnyAuthenticator, AnyAuthorizer, Authenticator, Authorizer
from app.api.auth.delegated import DelegatedRights, DelegatedTokens, ProbesMay
from app.api.auth.frontproxy import FrontProxy, HeaderNames
from app.api.auth.gate import Gate
from app.api.auth.masters import MastersMay
from app.api.auth.x509 import Authorities, AuthoritiesError, ClientCertificates
from app.cluster import trust as theirs
from app.cluster.config import ClusterConfigError, from_kubeconfig, in_cluster
from app.cluster.metrics import ClusterMetrics
from app.cluster.reviews import Reviews
from app.cluster.trust import TrustFollower
from app.controllers.delegated.events import EventForwarder
from app.controllers.delegated.link import ClusterLink
from app.controllers.delegated.namespaces import NamespaceMirror
from app.controllers.lease import LeaseKeeper
from app.machinery.kind import KUBEVIRT, Kind
from app.settings import Settings
from app.store.base import Store

if TYPE_CHECKING:
    from app.cluster.client import ClusterClient

_STANDALONE = (
    "client_ca",
    "token_auth_file",
    "requestheader_client_ca",
    "requestheader_allowed_names",
    "trust_loopback",
    "oidc_issuer_url",
)
"""Settings of who may come in that the cluster decides."""


def ensure_aggregable(settings: Settings) -> None:
    """Raises AccessError for settings that contradict `aggregated`, or that it lacks."""
    if not settings.aggregated:
        return
    if settings.database_url is None and settings.database_url_file is None:
        raise AccessError(
            "--aggregated needs DROVER_DATABASE_URL (or DROVER_DATABASE_URL_FILE): each replica with an empty store of its "
            "own would serve something else"
        )
    if not settings.tls:
        raise AccessError(
            "--aggregated speaks TLS, or a cluster does not reach it: leave out --no-tls (DROVER_TLS=false)"
        )
    for name in _STANDALONE:
        if getattr(settings, name):
            raise AccessError(f"DROVER_{name.upper()} contradicts --aggregated: the cluster says who may come in")


@dataclass(frozen=True)
class Aggregation:
    """What of the cluster the service is wired to."""

    cluster: ClusterClient
    follower: TrustFollower
    metrics: ClusterMetrics
    gate: Gate

    def parts(
        self, store: Store, identity: str, lease: timedelta, mirror: NamespaceMirror
    ) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What a process runs for the link; the last only while it is the one that does it for all."""
        keeper = LeaseKeeper(store.leases, f"{identity}-cluster", lease)
        forwarder = EventForwarder(store, self.cluster, self.metrics)
        return (self.follower.run, keeper.run, ClusterLink(keeper, [mirror.run, forwarder.run]).run)

    @property
    def ready(self) -> asyncio.Event:
        """Set when the cluster has told whom to believe: nobody could come in before, and a connection that was made before is
        not asked for a certificate any more."""
        return self.follower.known


def aggregation_of(
    settings: Settings, trust: Trust, renewed: Callable[[], None], registry: CollectorRegistry
) -> Aggregation:
    """`trust` is the listener's: filled, and `renewed` called, whenever the cluster says something new. Raises AccessError."""
    from app.cluster.client import ClusterClient

    try:
        config = from_kubeconfig(settings.kubeconfig) if settings.kubeconfig else in_cluster(os.environ)
        cluster = ClusterClient(config)
    except ClusterConfigError as error:
        raise AccessError(str(error)) from error
    metrics = ClusterMetrics(registry)
    reviews = Reviews(cluster, counted=metrics.reviewed)
    proxy = FrontProxy(trust.proxies, names=HeaderNames((), (), (), ()))

    def believe(said: theirs.Trust) -> None:
        try:
            for text in (said.client_authority, said.proxy_authority):
                Authorities().replace(text)  # both or neither
            trust.clients.replace(said.client_authority)
            trust.proxies.replace(said.proxy_authority)
        except AuthoritiesError as error:
            raise ValueError(str(error)) from error
        proxy.allowed = said.proxy_names
        proxy.names = HeaderNames(
            _lower(said.user_headers), _lower(said.group_headers), _lower(said.uid_headers), _lower(said.extra_prefixes)
        )
        renewed()

    authenticators: list[Authenticator] = [proxy, ClientCertificates(trust.clients), DelegatedTokens(reviews)]
    authorizers: list[Authorizer] = [MastersMay(), ProbesMay(), DelegatedRights(reviews)]
    return Aggregation(
        cluster,
        TrustFollower(cluster, believe),
        metrics,
        Gate(AnyAuthenticator(authenticators), AnyAuthorizer(authorizers)),
    )


def kinds_behind(kinds: Sequence[Kind[Any, Any]]) -> tuple[Kind[Any, Any], ...]:
    """What is served behind a cluster: our own group alone."""
    ours = [kind for kind in kinds if KUBEVIRT in kind.served]
    return tuple(replace(kind, withheld=tuple(v for v in kind.served if v != KUBEVIRT)) for kind in ours)


def _lower(names: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(name.strip().lower().encode() for name in names if name.strip())
