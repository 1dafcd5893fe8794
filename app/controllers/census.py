"""The fleet as it is in the store: nodes, what their pods reserve, and which guests are on their way."""

from __future__ import annotations

from collections import Counter

from app.controllers.placement.fleet import Fleet
from app.controllers.placement.nodes import node_view
from app.controllers.placement.reservations import loads, reservation
from app.kinds import NODE, POD
from app.store.base import Scope, Transaction


async def fleet_of(tx: Transaction) -> Fleet:
    """Read in the transaction that decides by it: with a serial one it stays true until the commit."""
    nodes = [node_view(stored.document) for stored in (await tx.list(Scope(NODE.resource))).items]
    pods = [reservation(stored.document) for stored in (await tx.list(Scope(POD.resource))).items]
    arriving = Counter(run.target for run in await tx.unfinished_runs())
    return Fleet.of(nodes, loads((pod for pod in pods if pod is not None), arriving))
