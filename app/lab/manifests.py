"""What a user of the lab types into files: a VirtualMachine, and the Migration that moves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from app.lab.guest import linux_images, linux_xml, virtual_machine
from app.lab.hosts import LabHosts

MIGRATION = """\
apiVersion: kubevirt.io/v1alpha1
kind: Migration
metadata:
  name: testvm-migration
spec:
  selector:
    name: testvm
"""


class _Dumper(yaml.SafeDumper):
    """Texts of several lines are written as they are."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def guest_manifest(hosts: LabHosts, name: str = "testvm", **settings: Any) -> dict[str, Any]:
    """The Linux guest that ticks, as a VirtualMachine; `linux_xml` has the settings. The first time it downloads 27 MB."""
    definition = linux_xml(name, "", linux_images(hosts.images), console(hosts, name), **settings)
    return virtual_machine(name, definition, labels={"app": name}, terminationGracePeriodSeconds=30)


def console(hosts: LabHosts, name: str) -> Path:
    """Where that guest's ticks arrive, on whichever host it is."""
    return hosts.consoles / f"{name}.log"


def write_manifests(hosts: LabHosts, folder: Path) -> tuple[Path, Path]:
    """`testvm.yaml` and `migration.yaml`, for `kubectl create -f`."""
    machine, migration = folder / "testvm.yaml", folder / "migration.yaml"
    machine.write_text(yaml.dump(guest_manifest(hosts), Dumper=_Dumper, sort_keys=False, width=1000))
    migration.write_text(MIGRATION)
    return machine, migration
