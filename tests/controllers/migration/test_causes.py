"""Whose fault a failure is: every reason and every exit code has a row, and libvirt's numbers are libvirt's."""

from __future__ import annotations

import libvirt
import pytest

from app.controllers.migration.causes import CAUSES, cause_of_run, is_the_nodes, may_try_again
from app.controllers.migration.exit_codes import MEANINGS, ExitCode
from app.kinds.migration import FailureClass, Reason

NO_FAILURE = {
    Reason.WAITING_FOR_SLOT, Reason.NODE_FOUND, Reason.AGAINST_EVIDENCE, Reason.LIBVIRT_BUSY, Reason.MOVED,
}  # fmt: skip
FAILURES = [code for code in ExitCode if code is not ExitCode.MOVED]


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in NO_FAILURE])
def test_every_reason_to_fail_is_classed_and_says_what_would_help(reason: Reason) -> None:
    cause = CAUSES[reason]

    assert cause.help
    assert (cause.blame is None) == (reason is Reason.CANCELLED)


@pytest.mark.parametrize("code", FAILURES)
def test_every_exit_code_is_classed(code: ExitCode) -> None:
    assert (cause_of_run(code, {}).blame is None) == (MEANINGS[code].reason is Reason.CANCELLED)


@pytest.mark.parametrize(
    ("name", "blame"),
    [
        ("NO_CONNECT", FailureClass.PATH),
        ("SYSTEM_ERROR", FailureClass.PATH),
        ("RPC", FailureClass.PATH),
        ("GNUTLS_ERROR", FailureClass.PATH),
        ("AUTH_FAILED", FailureClass.PATH),
        ("OPERATION_INVALID", FailureClass.GUEST),
        ("OPERATION_UNSUPPORTED", FailureClass.GUEST),
        ("CPU_INCOMPATIBLE", FailureClass.HOST),
        ("INTERNAL_ERROR", FailureClass.HOST),
        ("OPERATION_FAILED", FailureClass.HOST),
    ],
)
def test_libvirts_number_tells_the_class(name: str, blame: FailureClass) -> None:
    code = getattr(libvirt, f"VIR_ERR_{name}")

    cause = cause_of_run(ExitCode.FAILED, {"libvirtCode": code, "libvirtText": "words"})

    assert (cause.blame, cause.libvirt_code, cause.libvirt_text) == (blame, code, "words")


def test_a_network_that_stopped_is_the_hosts_fault_and_its_node_is_avoided() -> None:
    stopped = {"libvirtCode": libvirt.VIR_ERR_OPERATION_INVALID, "libvirtText": "network 'lan' is not active"}
    other = {"libvirtCode": libvirt.VIR_ERR_OPERATION_INVALID, "libvirtText": "domain is not running"}

    assert is_the_nodes(cause_of_run(ExitCode.FAILED, stopped))
    assert not is_the_nodes(cause_of_run(ExitCode.FAILED, other))


def test_a_failure_that_nobody_saw_sends_nobody_to_libvirts_words() -> None:
    unseen, seen = cause_of_run(ExitCode.FAILED, {}), cause_of_run(ExitCode.FAILED, {"libvirtText": "words"})

    assert "logs of both hosts" in unseen.help
    assert "libvirt's words" in seen.help


def test_of_an_encrypted_copy_that_failed_its_certificates_are_named() -> None:
    words = {"libvirtCode": 1, "libvirtText": "Cannot read from TLS channel"}

    plain, encrypted = [cause_of_run(ExitCode.FAILED, words, encrypted=tls) for tls in (False, True)]

    assert "kubevirt.io/migration-tls" in encrypted.help
    assert "kubevirt.io/migration-tls" not in plain.help
    assert "TLS" not in cause_of_run(ExitCode.NOT_CONVERGING, {}, encrypted=True).help


def test_a_guest_that_is_busy_is_tried_again_on_any_node() -> None:
    cause = cause_of_run(ExitCode.BUSY, {})

    assert may_try_again(ExitCode.BUSY, cause)
    assert not is_the_nodes(cause)
