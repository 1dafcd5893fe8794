"""Who serves which host: the processes share them out evenly, each judging for itself by the leases. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What this process does about it now."""

    take: tuple[str, ...] = ()
    give_up: tuple[str, ...] = ()


def share(me: str, members: Iterable[str], nodes: Iterable[str], served: Mapping[str, str]) -> Share:
    """
    `served` says who holds which node. A node that is gone is given up. A process that has two more than another gives
    one up; a free node is taken by those that are below their even share, fewest first.
    """
    known = sorted(set(nodes))
    everybody = sorted({me, *members})
    mine = sorted(name for name, holder in served.items() if holder == me)
    gone = tuple(name for name in mine if name not in known)
    counts = Counter(dict.fromkeys(everybody, 0))
    counts.update(holder for name, holder in served.items() if name in known and holder in counts)
    free = [name for name in known if name not in served]
    if counts[me] > min(counts.values()) + 1 and not free:
        return Share(give_up=(*gone, max(name for name in mine if name in known)))
    return Share(take=tuple(_my_part(me, counts, free)), give_up=gone)


def _my_part(me: str, counts: Counter[str], free: list[str]) -> list[str]:
    """Everybody deals out the free nodes in the same way, so that two rarely reach for one; the leases decide."""
    dealt, part = Counter(counts), []
    for name in free:
        member = min(dealt, key=lambda m: (dealt[m], m))
        dealt[member] += 1
        if member == me:
            part.append(name)
    return part
