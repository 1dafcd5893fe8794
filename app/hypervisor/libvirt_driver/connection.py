"""One connection: dialled, listened to, asked with its errors translated, and hung up. Runs in the driver's threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import libvirt

from app.hypervisor.base import (
    Busy,
    Change,
    DomainExists,
    DomainGone,
    HypervisorError,
    Incompatible,
    Lifecycle,
    Refused,
    Unreachable,
)
from app.hypervisor.libvirt_driver.vocabulary import CHANGES, DETAILS
from app.hypervisor.threads import Lane

T = TypeVar("T")
Call = Callable[["libvirt.virConnect"], T]


KEEPALIVE_INTERVAL_S = 3
KEEPALIVE_COUNT = 3
"""About 10 s until a silent host is noticed; 5 × 3 took 18 s."""


Errors = Mapping[int, type[HypervisorError]]
"""From libvirt's error codes, never from its texts. What is not named is Refused (a migration: MigrationFailed)."""

ERRORS: Errors = {
    libvirt.VIR_ERR_NO_DOMAIN: DomainGone,
    libvirt.VIR_ERR_DOM_EXIST: DomainExists,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: Busy,
    libvirt.VIR_ERR_CPU_INCOMPATIBLE: Incompatible,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: Incompatible,
    libvirt.VIR_ERR_NO_SUPPORT: Incompatible,
    libvirt.VIR_ERR_INVALID_CONN: Unreachable,
    libvirt.VIR_ERR_NO_CONNECT: Unreachable,
}

# Asked to define a guest of a type or architecture that it lacks, libvirt calls the argument invalid.
DEFINE_ERRORS: Errors = {**ERRORS, libvirt.VIR_ERR_INVALID_ARG: Incompatible}


_EVENT_THREAD = "libvirt-events"
_starting = threading.Lock()


async def dial(uri: str, deadline_s: float) -> libvirt.virConnect:
    """Given up, a connection that is made after all is closed where it was made."""
    lane = Lane("dial", 1)
    given_up = threading.Event()
    try:
        async with asyncio.timeout(deadline_s):
            return await lane.run(partial(_open, uri, given_up))
    except TimeoutError:
        raise Unreachable(f"{uri} did not answer within {deadline_s:g} s") from None
    finally:
        given_up.set()
        lane.end()


def _open(uri: str, given_up: threading.Event) -> libvirt.virConnect:
    _run_event_loop()
    try:
        connection = libvirt.open(uri)
        connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
    except libvirt.libvirtError as error:
        raise Unreachable(error.get_error_message() or str(error), error.get_error_code()) from error
    if given_up.is_set():
        connection.close()
    return connection


def _run_event_loop() -> None:
    """Once a process, before the first connection: keepalive, events and libvirtd's own watch over us depend on it."""
    with _starting:
        if any(thread.name == _EVENT_THREAD for thread in threading.enumerate()):
            return
        libvirt.registerErrorHandler(lambda _, __: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_turn_for_ever, name=_EVENT_THREAD, daemon=True).start()


def _turn_for_ever() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def listen(
    connection: libvirt.virConnect, heard: Callable[[Lifecycle], None], ended: Callable[[int], None], numbers: list[int]
) -> None:
    """libvirt's numbers of it, without which the connection would not be closed, are there whether or not anybody waits."""

    def on_event(_: object, domain: Any, event: int, detail: int, __: object) -> None:
        change = CHANGES.get(event)
        if change is not None:
            text = DETAILS.get((change, detail), "")
            heard(Lifecycle(UUID(bytes=domain.UUID()), change, text, time.time()))

    def on_iteration(_: object, domain: Any, iteration: int, __: object) -> None:
        heard(Lifecycle(UUID(bytes=domain.UUID()), Change.ITERATED, str(iteration), time.time()))

    listen_for_end(connection, ended)
    for event, told in (
        (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_event),
        (libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, on_iteration),
    ):
        numbers.append(connection.domainEventRegisterAny(None, event, told, None))


def listen_for_end(connection: libvirt.virConnect, ended: Callable[[int], None]) -> None:
    def on_close(_: object, reason: int, __: object) -> None:
        ended(reason)

    connection.registerCloseCallback(on_close, None)


def hang_up_meanwhile(connection: libvirt.virConnect, *lanes: Lane, events: Sequence[int] = ()) -> None:
    """On a frozen host it blocks, and nobody waits for it."""
    threading.Thread(target=_hang_up, args=(connection, lanes, events), name="hang-up", daemon=True).start()


def _hang_up(connection: libvirt.virConnect, lanes: tuple[Lane, ...], events: Sequence[int]) -> None:
    """
    Only when no call is under way any more, at the latest when keepalive has ended them all: libvirt's binding takes no
    share of the connection for a call, so that one which is closed meanwhile is used after it was freed.
    """
    for lane in lanes:
        lane.wait()
    with contextlib.suppress(libvirt.libvirtError):  # it is broken already
        connection.unregisterCloseCallback()
    for number in events:
        with contextlib.suppress(libvirt.libvirtError):
            connection.domainEventDeregisterAny(number)
    with contextlib.suppress(libvirt.libvirtError):
        connection.close()


def translated(call: Call[T], connection: libvirt.virConnect, errors: Errors) -> T:
    """
    The error is raised without its past: frames in it would hold domains, and with the last of them the connection would be
    closed, which waits for the host, wherever the error is forgotten: in the event loop.
    """
    try:
        return call(connection)
    except libvirt.libvirtError as error:
        failure = port_error(error, connection, errors, Refused)
    except HypervisorError as error:
        failure = _bare(error)
    raise failure


def _bare(error: HypervisorError) -> HypervisorError:
    return type(error)(error.text, error.code)


def port_error(
    error: libvirt.libvirtError, connection: libvirt.virConnect, errors: Errors, otherwise: type[HypervisorError]
) -> HypervisorError:
    code = error.get_error_code()
    # A broken connection has the same codes as many an error on the host: ask the connection.
    kind = errors.get(code, otherwise) if alive(connection) else Unreachable
    return kind(error.get_error_message() or str(error), code)


def alive(connection: libvirt.virConnect) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False
