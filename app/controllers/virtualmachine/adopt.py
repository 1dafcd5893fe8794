"""
A guest that runs on a host, and no VirtualMachine that is there says so: what is to become of it. Pure.

| the domain                                             | what becomes of it                                        |
|--------------------------------------------------------|-----------------------------------------------------------|
| not active, or a copy that arrives or never ran        | nothing                                                   |
| in a migration's hands, or its host too busy to say    | looked at again                                           |
| its VirtualMachine is here                             | nothing: that follows it; one that had ended is told      |
| its VirtualMachine is elsewhere                        | that host is asked: see `compare`                         |
| released                                               | told, and left alone: the operator wanted that            |
| another Drover's or another manager's                  | told, never touched                                       |
| any other                                              | adopted, unless the Node says `none`; ours is told then   |
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, assert_never

from pydantic import ValidationError

from app.controllers.birth import Birth
from app.controllers.documents import is_adopted
from app.controllers.virtualmachine.leftovers import is_left_waiting
from app.controllers.virtualmachine.report import on_node
from app.controllers.virtualmachine.schedule import phase_of
from app.hypervisor.base import Domain, Job, Reason, State
from app.hypervisor.domain_facts import DomainFacts
from app.hypervisor.domain_mark import MARK_NAMESPACE
from app.kinds import VIRTUAL_MACHINE, names
from app.kinds.domain import DomainSpec
from app.kinds.virtualmachine import FINAL, Phase
from app.machinery.objects import Document

ACTIVE = frozenset({State.RUNNING, State.PAUSED, State.SHUTTING_DOWN})
LOOK_AGAIN_S = 2.0
_UNFINISHED = frozenset({Reason.MIGRATION, Reason.STARTING_UP, Reason.POSTCOPY, Reason.POSTCOPY_FAILED})
_HARMLESS = ("http://libosinfo.org/", "https://github.com/cockpit-project/")
"""Metadata of tools that note what a guest is, and manage nothing."""
_MANAGERS = {
    "http://openstack.org/": "OpenStack",
    "http://ovirt.org/": "oVirt",
    "http://kubevirt.io": "KubeVirt",
    "http://opennebula.org/": "OpenNebula",
}
_LONGEST = 63
_LEAST: Document = {"type": "qemu", "os": {"type": {"os": "hvm"}}, "devices": {}}


@dataclass(frozen=True, slots=True)
class Stranger:
    """What was seen of a domain, and what the store says of it; the store was read first."""

    node: str
    store: str
    domain: Domain
    vm: Document | None
    """The VirtualMachine with that UUID."""
    moving: bool
    """A migration has it in hand."""
    namespace: str | None
    """Where it would be adopted; None leaves such guests alone."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing is to be done or told."""


@dataclass(frozen=True, slots=True)
class Later:
    """It cannot be said yet."""

    after_s: float = LOOK_AGAIN_S


@dataclass(frozen=True, slots=True)
class Adopt:
    """Make a VirtualMachine for it, unless its definition says that somebody else manages it."""

    namespace: str


@dataclass(frozen=True, slots=True)
class Compare:
    """Ask the host where its VirtualMachine says that it is."""

    vm: Document
    node: str
    """Empty where it was nowhere yet."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """It runs here, and no VirtualMachine tells: say why."""

    why: str


@dataclass(frozen=True, slots=True)
class Take:
    """It runs here and nowhere else: the VirtualMachine follows it."""

    told: str


@dataclass(frozen=True, slots=True)
class Double:
    """It runs on both hosts."""


def is_here(domain: Domain) -> bool:
    """It runs on that host: neither ended, nor a copy that arrives or that a migration left behind."""
    return domain.state in ACTIVE and not _is_unfinished(domain)


def is_starting(domain: Domain) -> bool:
    """libvirt starts it for a migration: seconds. Where its daemon is killed before the new process is noted down, libvirt 9
    keeps the domain so for ever, over restarts too: no process has it, and its lock is nobody's, so that no call ends it."""
    return (domain.state, domain.reason, domain.job) == (State.PAUSED, Reason.STARTING_UP, Job.MIGRATION_IN)


def judge(seen: Stranger) -> Ignore | Later | Adopt | Compare | Unseen:
    """What to do next with a domain that somebody pointed at."""
    domain = seen.domain
    if not is_here(domain):
        return Ignore()
    if seen.moving or domain.job is not Job.NONE:
        return Later()
    if seen.vm is not None:
        return _known(seen, seen.vm)
    mark = domain.mark
    if mark is not None and mark.store not in ("", seen.store):
        return Unseen("another Drover manages it")
    if mark is not None and mark.released:
        return Unseen(f"its VirtualMachine was deleted, so it is let alone until its metadata {MARK_NAMESPACE} goes")
    if seen.namespace is not None:
        return Adopt(seen.namespace)
    return Ignore() if mark is None else Unseen("its VirtualMachine is gone, and this Node adopts nothing")


def compare(here: Domain, there: Domain | None, node: str) -> Take | Double | Later:
    """Of a domain that runs here, and that its VirtualMachine puts on that node. None: that host does not answer."""
    if there is None:
        return Take(f"it runs here, and {node}, where it was, does not answer" if node else "it runs here")
    if there.state in (State.ABSENT, State.SHUTOFF, State.CRASHED):
        return Take(f"somebody moved it here from {node}" if node else "it runs here")
    if there.job is not Job.NONE or _is_unfinished(there):
        return Later()
    return Double()


def managed_by(facts: DomainFacts) -> str | None:
    """Who else manages the guest, as its definition tells. What nobody here knows is taken for a manager's."""
    for namespace in facts.others_metadata:
        if not namespace.startswith(_HARMLESS):
            known = next((name for prefix, name in _MANAGERS.items() if namespace.startswith(prefix)), None)
            return f"{known} manages it" if known else f"its metadata has {namespace}, which Drover does not know"
    return None


def names_for(libvirt_name: str, uuid: str, taken: Collection[str]) -> str:
    """A VirtualMachine's name: libvirt's where that is a DNS label and free, else made one, and part of the UUID added."""
    label = re.sub(r"[^a-z0-9]+", "-", libvirt_name.lower()).strip("-")
    if label == libvirt_name and len(label) <= _LONGEST and label not in taken:
        return label
    digits = uuid.replace("-", "")
    for length in (5, 8, 12, 20, 32):
        suffix = digits[:length]
        base = label[: _LONGEST - 1 - length].strip("-")
        name = f"{base or 'vm'}-{suffix}"
        if name not in taken:
            return name
    raise AssertionError(f"BUG: every name for {uuid} is taken")


def adopted(birth: Birth, node: str, namespace: str, name: str, domain: Domain, spec: Document) -> Document:
    """The new VirtualMachine; what its guest does is reported by its node's agent."""
    made = birth.document(
        VIRTUAL_MACHINE,
        namespace,
        name,
        labels={names.ADOPTED: "true"},
        spec={"domain": spec},
        status={
            "phase": Phase.RUNNING.value,
            "adopted": True,
            "domainName": domain.name,
            "domainUUID": str(domain.uuid),
        },
    )
    return on_node(made, node)


def spec_of(read: Document, domain: Domain) -> Document:
    """What was read of the definition, as far as the DomainSpec takes it. Its size is the host's word."""
    spec = {**read, "memory": {"value": max(1, domain.memory >> 10), "unit": "KiB"}}
    spec["vcpu"] = domain.vcpus or read.get("vcpu") or 1
    while True:
        try:
            fitted = DomainSpec.model_validate(spec)
        except ValidationError as wrong:
            problem = wrong.errors()[0]
            _drop(spec, problem["loc"], missing=problem["type"] == "missing")
        else:
            return fitted.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def _known(seen: Stranger, vm: Document) -> Ignore | Later | Compare | Unseen:
    node = str((vm.get("status") or {}).get("nodeName") or "")
    phase = phase_of(vm)
    over = phase in FINAL and not is_adopted(vm)
    match phase:
        case Phase.MIGRATING:
            return Later()
        case _ if over:
            return Unseen(f"its VirtualMachine has {phase.lower()} and is not started a second time: delete it")
        case Phase.NEW | Phase.PENDING | Phase.SCHEDULING | Phase.SCHEDULED:
            return Ignore() if node == seen.node else Later()
        case Phase.RUNNING | Phase.UNKNOWN | Phase.SUCCEEDED | Phase.FAILED:
            return Ignore() if node == seen.node else Compare(vm, node)
        case unhandled:
            assert_never(unhandled)


def _is_unfinished(domain: Domain) -> bool:
    """A copy that arrives, or that a migration left behind."""
    return domain.state is State.PAUSED and (domain.reason in _UNFINISHED or is_left_waiting(domain))


def _drop(spec: Document, loc: tuple[int | str, ...], *, missing: bool) -> None:
    """Take out what does not fit: the value, or the object that lacks one; what every guest has is put in."""
    if missing and len(loc) == 1:
        spec[str(loc[0])] = copy.deepcopy(_LEAST[str(loc[0])])
        return
    *above, last = loc[:-1] if missing else loc
    place: Any = spec
    for step in above:
        place = place[step]
    del place[last]
