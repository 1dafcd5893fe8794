"""What images name in their own heads: read as qemu-img writes them, and held against the operator's list before a start."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.controllers.virtualmachine.images import check_layers
from app.hypervisor.base import Refused
from app.hypervisor.domain_facts import Disk, DomainFacts
from app.hypervisor.domain_rules import Policy
from app.hypervisor.image_header import HEAD, BadImage, Head, read_head
from app.hypervisor.libvirt_driver.driver import LibvirtHypervisors
from app.lab.hosts import LabHosts


def image(path: Path, *words: str) -> Path:
    done = subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *words, str(path), "1M"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return path


def head(path: Path) -> Head:
    return read_head(path.read_bytes()[:HEAD])


def test_a_head_says_what_it_is_layered_on_and_where_its_data_are(tmp_path: Path) -> None:
    base = image(tmp_path / "base")
    data = f"data_file={tmp_path}/data"

    assert head(base) == Head()
    assert head(image(tmp_path / "old", "-o", "compat=0.10")) == Head()
    assert head(image(tmp_path / "a", "-b", str(base), "-F", "qcow2")) == Head(str(base), "qcow2")
    assert head(image(tmp_path / "b", "-o", "compat=0.10", "-b", "base", "-F", "qcow2")) == Head("base", "qcow2")
    assert head(image(tmp_path / "c", "-o", data)) == Head(data=f"{tmp_path}/data")


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_break_the_reader(noise: bytes, magic: bool) -> None:
    try:
        read_head((b"QFI\xfb" if magic else b"") + noise)
    except BadImage:
        return


def test_a_head_whose_data_are_nowhere_is_refused() -> None:
    spoilt = bytearray(512)
    spoilt[:8] = b"QFI\xfb" + struct.pack(">I", 3)
    spoilt[72:80], spoilt[100:104] = struct.pack(">Q", 4), struct.pack(">I", 104)

    with pytest.raises(BadImage, match="does not name"):
        read_head(bytes(spoilt))


@pytest.fixture(scope="module")
def hosts() -> Iterator[LabHosts]:
    with LabHosts.temporary("node0") as standing:
        yield standing


async def refusal(hosts: LabHosts, path: Path) -> str:
    """What is held against a guest with that disk, by the host's own word; empty where nothing is."""
    for file in path.parent.iterdir():
        hosts.give(file)
    hypervisors = LibvirtHypervisors()
    disk = Disk("vda", "file", "disk", str(path), "qcow2", read_only=False, shareable=False)
    facts = DomainFacts(name="a", uuid=None, type="qemu", arch="", machine="", memory=0, vcpus=1, disks=(disk,))
    try:
        host = await hypervisors.connect(hosts["node0"].uri)
        await check_layers(host, facts, Policy(paths=(str(hosts.images),)).problem_of_path)
    except Refused as error:
        return error.text
    finally:
        await hypervisors.close()
    return ""


@pytest.mark.libvirt
async def test_a_guests_images_are_layered_on_nothing_that_is_not_allowed(hosts: LabHosts) -> None:
    folder = hosts.images
    base = image(folder / "base")
    image(folder / "middle", "-b", str(base), "-F", "qcow2")
    top = image(folder / "top", "-b", "middle", "-F", "qcow2")
    raw = folder / "raw"
    raw.write_bytes(bytes(1 << 20))

    assert await refusal(hosts, base) == await refusal(hosts, top) == ""
    assert await refusal(hosts, image(folder / "on-raw", "-b", str(raw), "-F", "raw")) == ""


@pytest.mark.libvirt
async def test_a_guest_that_wrote_itself_a_head_reads_no_file_of_its_host(hosts: LabHosts) -> None:
    folder = hosts.images
    stolen = image(folder / "stolen", "-u", "-b", "/etc/shadow", "-F", "raw")
    way_up = image(folder / "way-up", "-u", "-b", "../../../etc/shadow", "-F", "raw")
    below = image(folder / "below", "-b", str(stolen), "-F", "qcow2", "-u")
    unsaid = image(folder / "extents", "-u", "-b", str(folder / "base2"), "-F", "vmdk")

    for path in (stolen, way_up, below):
        assert "shadow" in await refusal(hosts, path), path
    assert "raw or qcow2" in await refusal(hosts, unsaid)
