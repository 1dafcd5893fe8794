"""The API of a process: of its own, behind a cluster, or for its health alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

from app.access import ServiceAccounts
from app.aggregation import Aggregation, kinds_behind
from app.api.admission.judge import Admission
from app.api.application import Api, create_api
from app.api.attendance import Attendance
from app.api.audit import Audit
from app.api.auth.escalation import Escalation
from app.api.auth.gate import Gate
from app.api.auth.roles import Roles
from app.api.context import SubresourceHandler, WriteGuard
from app.api.eventrate import EventRate, Rate
from app.api.exposition import Exposition
from app.api.fairness.gate import Bounds
from app.api.fairness.queue import Size
from app.api.health import Check
from app.api.requestlog import Told
from app.api.tokenrequests import IssuerDocuments, TokenRequests
from app.controllers.delegated.namespaces import NamespaceMirror
from app.controllers.eviction import Evictions
from app.controllers.finalize import Finalize
from app.controllers.guards import namespace_guard, node_guard
from app.controllers.migration.preview import Preview
from app.hypervisor import domain_xml
from app.kinds import (
    ALL,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    EVENT,
    MIGRATION,
    NAMESPACE,
    NODE,
    POD,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    VIRTUAL_MACHINE,
)
from app.machinery.discovery import served_group_versions
from app.machinery.kind import Kind
from app.machinery.objects import Document
from app.machinery.openapi import v2, v3
from app.settings import Settings
from app.store.postgres import PostgresStore
from app.wiring.database import answers
from app.wiring.workers import domain_policy, migration_config


def openapi_documents() -> dict[str, Document]:
    """What `openapi/` holds: file name and document."""
    documents = {"swagger.json": v2(ALL)}
    for group_version in served_group_versions(ALL):
        documents[f"v3{group_version.path}.json"] = v3(ALL, group_version)
    return documents


def version_of_drover() -> str:
    """`v1.36.0+drover-0.1.0`: clients read a Kubernetes version out of it."""
    return f"v1.36.0+drover-{version('drover')}"


def served_kinds(settings: Settings) -> tuple[Kind[Any, Any], ...]:
    """The declared kinds, with the checks that need the operator's settings."""
    policy = domain_policy(settings)
    return tuple(_with_domain_rules(kind, policy) if kind is VIRTUAL_MACHINE else kind for kind in ALL)


def _with_domain_rules(kind: Kind[Any, Any], policy: domain_xml.Policy) -> Kind[Any, Any]:
    declared = kind.check_create

    def check(document: dict[str, Any]) -> Any:
        yield from declared(document)
        namespace = (document.get("metadata") or {}).get("namespace") or ""
        yield from domain_xml.problems(document.get("spec") or {}, policy.within(namespace))

    return replace(kind, check_create=check)


@dataclass(frozen=True, slots=True)
class Apis:
    """Makes it out of what all of them share."""

    store: PostgresStore
    settings: Settings
    audit: Audit
    exposition: Exposition
    attendance: Attendance
    admission: Admission

    def alone(self, gate: Gate, roles: Roles, accounts: ServiceAccounts) -> Api:
        """Every kind, by the roles and accounts that are kept here."""
        store, escalation = self.store, Escalation(roles)
        tokens = TokenRequests(store.objects, accounts.tokens, self.settings.service_account_max_token_s)
        guards: dict[str, WriteGuard] = {kind.name: escalation.role for kind in (ROLE, CLUSTER_ROLE)}
        guards |= {kind.name: escalation.binding for kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING)}
        return create_api(
            store,
            served_kinds(self.settings),
            version=version_of_drover(),
            handlers={
                **self._handlers,
                (NAMESPACE.name, "finalize"): Finalize(store),
                (SERVICE_ACCOUNT.name, "token"): tokens.answer,
            },
            guards={NODE.name: node_guard, NAMESPACE.name: namespace_guard},
            previews=self._previews,
            checks=self._checks,
            exposition=self.exposition,
            gate=gate,
            write_guards={**guards, EVENT.name: _event_rate(self.settings)},
            bounds=_bounds(self.settings),
            logged=Told(self.settings.log_requests),
            audit=self.audit,
            attended=self._attended,
            issuer=IssuerDocuments(accounts.tokens),
            admission=self.admission,
        )

    def behind(self, cluster: Aggregation, mirror: NamespaceMirror) -> Api:
        """What a cluster hands on; namespaces, Events, roles and accounts are its own."""
        return create_api(
            self.store,
            kinds_behind(served_kinds(self.settings)),
            version=version_of_drover(),
            handlers=self._handlers,
            guards={NODE.name: node_guard},
            previews=self._previews,
            checks=self._checks,
            exposition=self.exposition,
            gate=cluster.gate,
            audit=self.audit,
            bounds=_bounds(self.settings),
            logged=Told(self.settings.log_requests),
            namespaces=mirror.look,
            attended=self._attended,
            admission=self.admission,
        )

    def health(self, gate: Gate) -> Api:
        """No kind at all."""
        return create_api(
            self.store, (), version=version_of_drover(), checks=self._checks, exposition=self.exposition, gate=gate
        )

    @property
    def _handlers(self) -> Mapping[tuple[str, str], SubresourceHandler]:
        return {(POD.name, "eviction"): Evictions(self.store).answer}

    @property
    def _previews(self) -> Mapping[str, Any]:
        return {MIGRATION.name: Preview(self.store, migration_config(self.settings)).answer}

    @property
    def _checks(self) -> Mapping[str, Check]:
        return {"postgresql": partial(answers, self.store)}

    @property
    def _attended(self) -> Mapping[str, Attendance]:
        """What nobody but a worker acts on."""
        return {MIGRATION.name: self.attendance, VIRTUAL_MACHINE.name: self.attendance}


def _event_rate(settings: Settings) -> EventRate:
    user = Rate(settings.events_of_user, settings.events_of_user_per_s)
    return EventRate(user, Rate(settings.events_of_object, settings.events_of_object_per_s))


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        Size(seats=settings.seats, share=settings.seats_share),
        wait_s=settings.request_wait_s,
        lasting=settings.watches,
        lasting_of_user=settings.watches_of_user,
    )
