"""The hosts of a migration as its process reaches them: those of its plan, and every other one as the store has it now."""

from __future__ import annotations

from app.controllers.migration.plan import Place, Plan
from app.controllers.placement.nodes import credentials_of
from app.kinds import NODE
from app.machinery.objects import Document
from app.store.base import Reader, Scope


def place_of(node: Document) -> Place:
    name, uri = node["metadata"]["name"], node["spec"]["providerID"]
    return Place(node=name, uri=uri, credentials=credentials_of(node))


async def others_of(reader: Reader, plan: Plan) -> tuple[Place, ...]:
    """All but the plan's two. Raises Unavailable."""
    nodes = (await reader.list(Scope(NODE.resource))).items
    return tuple(place_of(node.document) for node in nodes if node.key.name not in (plan.source.node, plan.target.node))
