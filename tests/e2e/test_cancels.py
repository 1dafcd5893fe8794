"""Cancels by delete, at every moment: the guest runs on exactly one host each time, and its counter is unbroken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from app.lab.hosts import LabHosts
from app.lab.meter import Meter
from tests.e2e.conftest import MakeGuest
from tests.e2e.harness import Drover, definers, eventually, qemus

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Plan:
    """How many cancels strike when."""

    early: int
    while_bytes_move: int
    at_the_switch_over: int


TWENTY = Plan(early=6, while_bytes_move=10, at_the_switch_over=4)
SEVEN = Plan(early=3, while_bytes_move=2, at_the_switch_over=2)


@dataclass(frozen=True)
class Cancelled:
    """One cancel: where it struck, and what came of it."""

    moment: str
    phase: str
    percent: int | None
    moved: bool
    gone_s: float


@pytest.mark.parametrize(
    "plan", [pytest.param(SEVEN, id="seven"), pytest.param(TWENTY, id="twenty", marks=pytest.mark.slow)]
)
def test_cancels_leave_the_guest_on_exactly_one_host(drover: Drover, make_guest: MakeGuest, plan: Plan) -> None:
    guest = make_guest(dirty_mib=24, mib_per_second=4)
    hosts = LabHosts.of(drover.lab)
    outcomes: list[Cancelled] = []

    with Meter(hosts.consoles / guest) as meter:
        for number in range(plan.early):
            outcomes.append(cancel_early(drover, guest, number))
        for number in range(plan.while_bytes_move):
            outcomes.append(cancel_while_bytes_move(drover, guest, number))
        for number in range(plan.at_the_switch_over):
            outcomes.append(cancel_at_the_switch_over(drover, guest, number))
        drover.migrate(guest, "the-next")
        assert drover.finished("the-next")["status"]["phase"] == "Succeeded"
        assert meter.wait_for_ticks(3, 10), "the guest no longer ticks"
        silence = meter.read()

    print(f"\n{'moment':<22} {'phase':<12} {'percent':>7}  {'guest':<8} gone after")
    for outcome in outcomes:
        print(
            f"{outcome.moment:<22} {outcome.phase:<12} {outcome.percent!s:>7}  "
            f"{'moved' if outcome.moved else 'stayed':<8} {outcome.gone_s:.2f} s"
        )
    assert silence.unbroken, silence
    struck = sum(o.moment == "while bytes move" and (o.percent or 0) > 0 for o in outcomes)
    assert struck >= plan.while_bytes_move * 0.8
    assert all(o.gone_s < 10 for o in outcomes), [o for o in outcomes if o.gone_s >= 10]


def cancel_early(drover: Drover, guest: str, number: int) -> Cancelled:
    """Right after the create, with a growing delay: Pending, Scheduling, or the first moments of Running."""
    return cancelled(drover, guest, f"early-{number}", "early", lambda _name: time.sleep(number * 0.03), "8Mi")


def cancel_while_bytes_move(drover: Drover, guest: str, number: int) -> Cancelled:
    def wait(name: str) -> None:
        eventually("bytes move", lambda: (percent(drover, name) not in (None, 0) and percent(drover, name)) or None)
        time.sleep(number * 0.15)

    return cancelled(drover, guest, f"moving-{number}", "while bytes move", wait, "8Mi")


def cancel_at_the_switch_over(drover: Drover, guest: str, number: int) -> Cancelled:
    """Between the source's pause and the end: told by the source's log line of the migration process."""

    def wait(name: str) -> None:
        eventually("the source is paused", lambda: paused_source(drover, name), every_s=0.005)

    return cancelled(drover, guest, f"late-{number}", "at the switch-over", wait, None)


def paused_source(drover: Drover, name: str) -> bool:
    state = (drover.migration(name).get("status") or {}).get("migrationState") or {}
    return bool(state.get("targetNodeDomainReadyTimestamp"))


def percent(drover: Drover, name: str) -> int | None:
    value: int | None = ((drover.migration(name).get("status") or {}).get("progress") or {}).get("percent")
    return value


def cancelled(
    drover: Drover, guest: str, name: str, moment: str, wait: Callable[[str], None], bandwidth: str | None
) -> Cancelled:
    """Migrate, wait for the moment, delete; then every promise about what is left."""
    source = drover.node_of(guest)
    uid = drover.vm(guest)["metadata"]["uid"]
    options = {"options": {"bandwidthPerMigration": bandwidth}} if bandwidth else {}
    drover.migrate(guest, name, **options)
    wait(name)
    at, struck = drover.phase(name), percent(drover, name)
    began = time.monotonic()

    drover.kubectl("delete", "migration", name, "--timeout=40s")

    gone_s = time.monotonic() - began
    holders = eventually("one QEMU holds the guest", lambda: h if len(h := qemus(drover.lab, uid)) == 1 else None, 10)
    now = holders[0].node
    eventually("the VM says which", lambda: drover.vm(guest)["status"]["nodeName"] == now, 10)
    eventually("the VM is Running", lambda: drover.vm(guest)["status"]["phase"] == "Running", 10)
    assert "migrationNodeName" not in drover.vm(guest)["status"]
    eventually("no pod of the target is left", lambda: len(launchers(drover, guest)) == 1, 10)
    assert launchers(drover, guest)[0]["spec"]["nodeName"] == now
    eventually("no other host knows the guest", lambda: definers(drover.lab, uid) == [now], 10)
    return Cancelled(moment, at, struck, now != source, gone_s)


def launchers(drover: Drover, guest: str) -> list[dict[str, Any]]:
    return drover.pods(f"kubevirt.io/domain={guest},kubevirt.io=virt-launcher")
