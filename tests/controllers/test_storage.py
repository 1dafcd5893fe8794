"""Which disks are copied, under which names, and what is remembered of the files that were made. Pure."""

from __future__ import annotations

from dataclasses import replace

from app.controllers.migration.plan import Copy
from app.controllers.storage import copied_path, copies, disks_of, images, is_declared_shared, written_disks
from app.controllers.virtualmachine.made import (
    made_on,
    obsolete_on,
    with_made_disks,
    with_moved_disks,
    with_obsolete,
    without,
)
from app.hypervisor.domain_facts import Disk
from app.kinds.virtualmachine import VMDisk

UID = "5c2b0000-0000-4000-8000-000000000001"


def disk(path: str, *, copyable: bool = True) -> VMDisk:
    return VMDisk(target=path.rpartition("/")[2], type="file", path=path, format="qcow2", copyable=copyable)


ON_HOST = Disk("vda", "file", "disk", "/i/a", "qcow2", read_only=False, shareable=False)


def test_images_that_a_pool_makes_can_be_copied() -> None:
    listed = [
        ON_HOST,
        replace(ON_HOST, format="raw"),
        replace(ON_HOST, format="vmdk"),
        replace(ON_HOST, type="block", path="/dev/vg/a"),
        replace(ON_HOST, shareable=True),
        replace(ON_HOST, read_only=True),
        replace(ON_HOST, path=None),
    ]

    assert [found.copyable for found in written_disks(listed)] == [True, True, False, False, False]


def test_what_both_hosts_declare_shared_is_not_copied() -> None:
    disks = [disk("/shared/a"), disk("/local/b"), disk("/half/c"), disk("/local/d", copyable=False)]

    found = copies(disks, ["/shared", "/half"], ["/shared"])

    assert [each.path for each in found] == ["/local/b", "/half/c"]


def test_files_that_are_only_read_are_brought_and_devices_and_layers_are_left_to_libvirt() -> None:
    read = replace(ON_HOST, device="cdrom", format="raw", read_only=True)
    listed = [
        ON_HOST,
        read,
        replace(read, target="vdb", path="/shared/cd"),
        replace(read, target="vdc", layered=True),
        replace(read, target="vdd", type="block", path="/dev/sr0"),
        replace(read, target="vde", path=None),
    ]

    told = list(disks_of(listed))

    assert [disk.target for disk in told if disk.read_only] == ["vda", "vdb", "vdc", "vdd"]
    assert [disk.target for disk in images(told, ["/shared"], ["/shared"])] == ["vda"]
    assert [disk.read_only for disk in copies(told, [], [])] == [None]
    assert not is_declared_shared(told[1:], [], [])


def test_libvirts_judgement_is_overruled_only_where_all_that_is_not_copied_is_declared() -> None:
    assert is_declared_shared([disk("/shared/a"), disk("/local/b")], ["/shared"], ["/shared"])
    assert not is_declared_shared([disk("/local/b")], ["/shared"], ["/shared"])
    assert not is_declared_shared([disk("/shared/a"), disk("/local/b", copyable=False)], ["/shared"], ["/shared"])
    assert not is_declared_shared([], ["/shared"], ["/shared"])


def test_a_copy_is_named_after_its_migration_and_its_name_does_not_grow() -> None:
    assert copied_path("/i/a.qcow2", UID, 1) == "/i/a.qcow2.5c2b0000"
    assert copied_path("/i/a.qcow2.0badcafe", UID, 2) == "/i/a.qcow2.5c2b0000-2"
    assert copied_path("/i/a.qcow2.0badcafe-2", UID, 1) == "/i/a.qcow2.5c2b0000"


def test_the_next_move_finds_the_new_files_at_once() -> None:
    copy = Copy(disk="vda", format="raw", source_path="/i/a", target_path="/i/a.1")
    disks = [{"target": "vda", "type": "file", "path": "/i/a"}, {"target": "vdb", "type": "file", "path": "/i/b"}]

    moved = with_moved_disks({"status": {"hostRequirements": {"disks": disks}}}, [copy])

    assert [disk["path"] for disk in moved["status"]["hostRequirements"]["disks"]] == ["/i/a.1", "/i/b"]


def test_only_files_that_were_made_are_ever_obsolete() -> None:
    copy = Copy(disk="vda", format="raw", source_path="/i/a", target_path="/i/a.1")
    vm = with_made_disks({"status": {"phase": "Migrating"}}, "node1", [copy])

    left = with_obsolete(vm, "node1", {"/i/a.1", "/i/other"})
    elsewhere = with_obsolete(vm, "node0", {"/i/a.1"})

    assert ({"/i/a.1"}, set()) == (made_on(vm, "node1"), made_on(vm, "node0"))
    assert (obsolete_on(left, "node1"), obsolete_on(elsewhere, "node1")) == (["/i/a.1"], [])
    assert without(left, "node1", ["/i/a.1"]) == {"status": {"phase": "Migrating"}}
