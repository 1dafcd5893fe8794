"""A plan of a guest that is to be moved between two simulated hosts, for who needs some plan."""

from __future__ import annotations

from uuid import uuid4

from app.controllers.migration.plan import Place, Plan


def some_plan() -> Plan:
    """Another guest and another Migration each time."""
    return Plan(
        vm="default/testvm",
        domain=uuid4(),
        source=Place(node="node0", uri="fake://node0"),
        target=Place(node="node1", uri="fake://node1"),
        peer_uri="fake://node1",
        migration_uid=str(uuid4()),
        migration_pod="virt-migration-aaaaa",
        migration_pod_uid=uuid4(),
        target_pod="virt-launcher-testvm-bbbbb",
    )
