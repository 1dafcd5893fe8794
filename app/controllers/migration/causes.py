"""Whose fault a failure is, and what would help: one row for each reason. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.controllers.migration.exit_codes import MEANINGS, NOT_CONVERGING_HELP, ExitCode, Where
from app.kinds.migration import FailureClass, Reason

HOST, PATH, GUEST, CONFIGURATION = FailureClass.HOST, FailureClass.PATH, FailureClass.GUEST, FailureClass.CONFIGURATION


@dataclass(frozen=True, slots=True)
class Cause:
    """What stands behind a failure."""

    blame: FailureClass | None
    """None where nothing is wrong: it was stopped because somebody wished so."""
    help: str
    libvirt_code: int | None = None
    libvirt_text: str | None = None

    def told(self, said: str) -> str:
        """The Event's text: what happened, whose fault it is, libvirt's number, and what would help."""
        error = "" if self.libvirt_code is None else f", libvirt error {self.libvirt_code}"
        blamed = "" if self.blame is None else f" ({self.blame.value}{error})"
        return f"{said}{blamed}; {self.help}" if self.help else f"{said}{blamed}"


CAUSES: Mapping[Reason, Cause] = {
    Reason.VM_NOT_FOUND: Cause(CONFIGURATION, "check spec.selector.name"),
    Reason.VM_NOT_RUNNING: Cause(GUEST, "create the Migration again when the VirtualMachine is Running"),
    Reason.VM_NOT_MIGRATABLE: Cause(
        GUEST, "remove what the VirtualMachine's condition LiveMigratable or Duplicate names"
    ),
    Reason.MIGRATION_IN_PROGRESS: Cause(CONFIGURATION, "wait for that one, or delete it"),
    Reason.NODE_SELECTOR_CONFLICT: Cause(
        CONFIGURATION, "change the VirtualMachine's nodeSelector, or create a Migration without that key"
    ),
    Reason.QUEUE_TIMEOUT: Cause(CONFIGURATION, "create it again, or raise the limits"),
    Reason.UNSCHEDULABLE: Cause(CONFIGURATION, "uncordon or add a node, or relax a selector"),
    Reason.CANCELLED: Cause(None, "create another Migration when it may move"),
    Reason.DEADLINE_EXCEEDED: Cause(CONFIGURATION, "create it again with a longer spec.activeDeadlineSeconds"),
    Reason.NO_WORKER: Cause(CONFIGURATION, "start `drover work`, or see in its log why it starts no processes"),
    Reason.TARGET_REFUSED: Cause(HOST, "choose another node with a nodeSelector"),
    Reason.MIGRATION_FAILED: Cause(HOST, "mend what libvirt's words name and create another Migration"),
    Reason.NOT_CONVERGING: Cause(
        GUEST,
        NOT_CONVERGING_HELP,
    ),
    Reason.TRANSFER_STUCK: Cause(PATH, "see what holds up the network between the two hosts"),
    Reason.GUEST_STOPPED: Cause(GUEST, "the VirtualMachine's conditions say how it ended"),
    Reason.TARGET_UNREACHABLE: Cause(PATH, "see why the target does not answer, or choose another node"),
    Reason.HOST_UNREACHABLE: Cause(HOST, "see why its libvirt does not answer"),
    Reason.NODE_LOST: Cause(HOST, "create the VirtualMachine again where its disks are reached"),
    Reason.LOST: Cause(HOST, "look for the guest's end in the hosts' logs"),
}
"""Each reason that a Migration may fail with."""

_UNSEEN_HELP = "see in the logs of both hosts' libvirt why, and create another Migration"
"""libvirt tells why a copy failed only to who waited for its end."""
_TLS_HELP = (
    "the copy was to be encrypted: where they are about TLS, see that one authority signed both hosts' certificates, and that the"
    " target's bears the name that its Node's annotation kubevirt.io/migration-tls says"
)
_BUSY = Cause(GUEST, "try again when that job is over")

# libvirt's virErrorNumber, where the number tells more than that the copy failed.
_LIBVIRT: Mapping[int, FailureClass] = {
    5: PATH,  # NO_CONNECT: the source reached no libvirtd on the target
    38: PATH,  # SYSTEM_ERROR: a socket between the two broke
    39: PATH,  # RPC
    40: PATH,  # GNUTLS_ERROR: the TLS between the hosts
    45: PATH,  # AUTH_FAILED
    55: GUEST,  # OPERATION_INVALID: the guest's state forbids it
    84: GUEST,  # OPERATION_UNSUPPORTED: something in the guest cannot travel
    91: HOST,  # CPU_INCOMPATIBLE
}
_OPERATION_INVALID = 55
_NETWORK_STOPPED = re.compile(r"network '.*' is not active")
"""What libvirt says, under the number of a guest's state, of a network of the host (src/network/bridge_driver.c)."""


def cause_of(reason: Reason) -> Cause:
    """Of a failure that no run had a part in."""
    return CAUSES[reason]


def cause_of_run(code: ExitCode, result: Mapping[str, Any], *, encrypted: bool = False) -> Cause:
    """Of a run that ended with that exit code, by what its process learned."""
    known = _BUSY if code is ExitCode.BUSY else CAUSES[MEANINGS[code].reason]
    number, text = result.get("libvirtCode"), result.get("libvirtText")
    blame = _blamed(number, text or "", known) if code is ExitCode.FAILED and number is not None else known.blame
    unseen = code is ExitCode.FAILED and not text
    help_ = _UNSEEN_HELP if unseen else MEANINGS[code].help or known.help
    if encrypted and text and code is ExitCode.FAILED:
        help_ = f"{help_} ({_TLS_HELP})"
    return Cause(blame, help_, number, text)


def _blamed(number: int, text: str, known: Cause) -> FailureClass | None:
    if number == _OPERATION_INVALID and _NETWORK_STOPPED.search(text):
        return HOST
    return _LIBVIRT.get(number, known.blame)


def may_try_again(code: ExitCode, cause: Cause) -> bool:
    """Whether a further attempt can do better: the guest is on its source, and what was asked for is not what is wrong."""
    stays = MEANINGS[code].where is Where.SOURCE
    return stays and cause.blame in (HOST, PATH, GUEST)


def is_the_nodes(cause: Cause) -> bool:
    """Whether it counts against the pair of hosts, and a further attempt avoids the target."""
    return cause.blame in (HOST, PATH)
