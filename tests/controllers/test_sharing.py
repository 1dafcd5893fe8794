"""Sharing hosts out: from any start the processes come to an even share, and stay there. Pure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.controllers.sharing import Share, share


def settle(members: list[str], nodes: list[str], served: dict[str, str]) -> dict[str, str]:
    """All of them act, in turn, on what they see, until nobody does anything."""
    for _ in range(100):
        before = dict(served)
        for me in members:
            mine = share(me, members, nodes, served)
            for name in mine.give_up:
                del served[name]
            for name in mine.take:
                served.setdefault(name, me)
        if served == before:
            return served
    raise AssertionError(f"never settled: {served}")


def test_a_process_alone_takes_every_host() -> None:
    assert Share(take=("n0", "n1")) == share("p", [], ["n1", "n0"], {})


def test_a_host_that_is_gone_is_given_up() -> None:
    assert Share(give_up=("n1",)) == share("p", ["p"], ["n0"], {"n0": "p", "n1": "p"})


def test_two_processes_reach_for_different_hosts() -> None:
    nodes = ["n0", "n1", "n2", "n3"]

    taken = [set(share(me, ["p", "q"], nodes, {}).take) for me in ("p", "q")]

    assert taken[0] | taken[1] == set(nodes)
    assert not taken[0] & taken[1]


def test_a_process_that_comes_later_gets_its_part() -> None:
    served = settle(["p", "q"], ["n0", "n1", "n2", "n3"], dict.fromkeys(["n0", "n1", "n2", "n3"], "p"))

    assert sorted(served.values()) == ["p", "p", "q", "q"]


MEMBERS = st.lists(st.sampled_from("pqrs"), min_size=1, max_size=4, unique=True)


@given(MEMBERS, st.integers(0, 9), st.data())
def test_they_settle_evenly_with_every_host_served(members: list[str], count: int, data: st.DataObject) -> None:
    nodes = [f"n{i}" for i in range(count)]
    served = {name: data.draw(st.sampled_from([*members, None])) for name in nodes}

    settled = settle(members, nodes, {name: who for name, who in served.items() if who is not None})

    shares = [list(settled.values()).count(member) for member in members]
    assert set(nodes) == set(settled)
    assert max(shares) - min(shares) <= 1
