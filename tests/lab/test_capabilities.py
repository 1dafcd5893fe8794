"""What one host learned about QEMU is not asked for again, and nothing else is carried along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.lab.account import ordinary
from app.lab.capabilities import BELOW_CACHE, keep
from app.lab.hosts import LabHosts
from app.lab.kernel import cache_folder
from tests.lab.virsh import virsh


@pytest.mark.libvirt
@pytest.mark.lab
def test_a_new_host_has_what_an_earlier_one_learned() -> None:
    with LabHosts.temporary("node0") as earlier:
        virsh(earlier["node0"], "capabilities")

    with LabHosts.temporary("node0") as later:
        lent = {file.name for file in (later["node0"].directory / "cache" / BELOW_CACHE).glob("*.xml")}

    assert lent
    assert lent == {file.name for file in (cache_folder() / "capabilities").glob("*.xml")}


@pytest.mark.parametrize("kind", ["a link", "somebody else's"])
def test_other_peoples_files_are_not_kept(tmp_path: Path, kind: str) -> None:
    place = tmp_path / BELOW_CACHE
    place.mkdir(parents=True)
    account = ordinary()
    me = replace(account, uid=tmp_path.stat().st_uid)
    secret, name = tmp_path / "secret", f"{tmp_path.name}.xml"
    secret.write_text("secret")
    if kind == "a link":
        (place / name).symlink_to(secret)
        keep(place, me)
    else:
        (place / name).write_text("secret")
        keep(place, replace(me, uid=me.uid + 1))

    assert not (cache_folder() / "capabilities" / name).exists()
