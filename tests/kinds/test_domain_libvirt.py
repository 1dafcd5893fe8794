"""What libvirt itself says of the XML that Drover makes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from uuid import UUID, uuid4
from xml.etree.ElementTree import fromstring

import pytest

from app.hypervisor.base import Mark
from app.hypervisor.domain_xml import (
    MARK_NAMESPACE,
    MARK_PREFIX,
    Policy,
    definition,
    mark_xml,
    problems,
    read,
    read_mark,
)
from app.hypervisor.domain_xml import facts as spec_facts
from app.lab.hosts import LabHost, LabHosts
from tests.kinds.domains import domain
from tests.kinds.test_domain_json import BEYOND, ROWS, Row

pytestmark = [pytest.mark.libvirt, pytest.mark.xdist_group("domains on a host")]


@pytest.fixture(scope="module")
def host() -> Iterator[LabHost]:
    with LabHosts.temporary("node0") as hosts:
        yield next(iter(hosts))


def virsh(host: LabHost, *words: str, given: str | None = None) -> str:
    """What it printed; fails the test with what it complained of."""
    command = ["virsh", "-q", "-c", host.uri, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, input=given)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("row", [*ROWS, *BEYOND], ids=lambda row: row.field)
def test_libvirt_defines_what_a_field_becomes(host: LabHost, row: Row) -> None:
    uuid = uuid4()
    xml = definition({"domain": row.spec}, name=f"default_{uuid.hex}", uuid=uuid, mark=Mark(vm="default/a"))

    virsh(host, f"define --validate /dev/stdin; undefine {uuid}", given=xml)


def test_the_smallest_domain_starts(host: LabHost) -> None:
    uuid = uuid4()
    xml = definition(
        {"domain": domain()}, name="default_smallest", uuid=uuid, mark=Mark(store="s", vm="default/smallest")
    )

    virsh(host, "define", "/dev/stdin", given=xml)
    virsh(host, "start", str(uuid))

    assert virsh(host, "domstate", str(uuid)) == "running"
    facts = read(virsh(host, "dumpxml", str(uuid)))
    assert ("default_smallest", uuid, "qemu", 1) == (facts.name, facts.uuid, facts.type, facts.vcpus)
    assert Mark(store="s", vm="default/smallest") == facts.mark
    # libvirt counts in KiB and rounds up.
    assert spec_facts({"domain": domain()}).memory <= facts.memory < 64 * 10**6 + 2**20


def test_what_libvirt_writes_of_a_running_guest_is_allowed_again(host: LabHost) -> None:
    """A definition that was copied from a host is taken, but for what the operator must allow."""
    uuid = uuid4()
    spec = domain(
        devices={
            "serials": [{"type": "pty"}],
            "consoles": [{"type": "pty"}],
            "graphics": [{"type": "vnc", "autoPort": "yes"}],
            "video": [{"type": "vga"}],
        }
    )
    virsh(host, "define", "/dev/stdin", given=definition({"domain": spec}, name="default_full", uuid=uuid, mark=Mark()))
    virsh(host, "start", str(uuid))

    copied = virsh(host, "dumpxml", str(uuid))

    emulator = read_emulator(copied)
    assert [str(problem) for problem in problems({"domainXML": copied}, Policy(emulators=(emulator,)))] == []


def test_libvirt_keeps_the_mark_that_it_is_given(host: LabHost) -> None:
    uuid = uuid4()
    mark = Mark(store="s", vm="default/marked", migration=str(UUID(int=7)), attempt=3, released=True)
    virsh(
        host,
        "define",
        "/dev/stdin",
        given=definition({"domain": domain()}, name="default_marked", uuid=uuid, mark=Mark()),
    )

    virsh(host, "metadata", str(uuid), MARK_NAMESPACE, "--key", MARK_PREFIX, "--set", mark_xml(mark))

    assert mark == read_mark(virsh(host, "dumpxml", str(uuid)))
    assert mark == read_mark(virsh(host, "metadata", str(uuid), MARK_NAMESPACE))


def read_emulator(xml: str) -> str:
    return fromstring(xml).findtext("devices/emulator") or ""
