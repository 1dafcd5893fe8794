"""What we serve: one file a kind, declarative: schema, validation, columns. No I/O, no decisions about the world."""

from __future__ import annotations

from typing import Any

from app.kinds.event import EVENT
from app.kinds.migration import MIGRATION
from app.kinds.migrationpolicy import MIGRATION_POLICY
from app.kinds.namespace import NAMESPACE
from app.kinds.node import NODE
from app.kinds.pod import POD
from app.kinds.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from app.kinds.serviceaccount import SERVICE_ACCOUNT
from app.kinds.virtualmachine import VIRTUAL_MACHINE
from app.machinery.kind import Kind

ALL: tuple[Kind[Any, Any], ...] = (
    MIGRATION,
    VIRTUAL_MACHINE,
    MIGRATION_POLICY,
    NODE,
    POD,
    NAMESPACE,
    EVENT,
    SERVICE_ACCOUNT,
    ROLE,
    CLUSTER_ROLE,
    ROLE_BINDING,
    CLUSTER_ROLE_BINDING,
)

__all__ = [
    "ALL",
    "CLUSTER_ROLE",
    "CLUSTER_ROLE_BINDING",
    "EVENT",
    "MIGRATION",
    "MIGRATION_POLICY",
    "NAMESPACE",
    "NODE",
    "POD",
    "ROLE",
    "ROLE_BINDING",
    "SERVICE_ACCOUNT",
    "VIRTUAL_MACHINE",
]
