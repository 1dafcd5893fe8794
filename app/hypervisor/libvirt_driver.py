"""The only file that imports libvirt: its threads, event loop, numbers and error codes stop here."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, assert_never
from uuid import UUID, uuid4
from xml.etree.ElementTree import Element, SubElement, tostring

import libvirt
import structlog

from app.hypervisor import domain_facts
from app.hypervisor import domain_mark as marks
from app.hypervisor.base import (
    Abort,
    Aborted,
    Busy,
    Candidate,
    Change,
    Completed,
    Compression,
    CopyPhase,
    Destination,
    Domain,
    DomainExists,
    DomainGone,
    GuestCpus,
    Host,
    Hypervisor,
    HypervisorError,
    Hypervisors,
    Incompatible,
    Inspection,
    Job,
    Lifecycle,
    Mark,
    MigrationFailed,
    Progress,
    Reason,
    Refused,
    SetBandwidth,
    SetDowntime,
    State,
    Steer,
    StopAndCopy,
    SwitchToPostCopy,
    Unreachable,
    Unsafe,
)
from app.hypervisor.capabilities import (
    Capabilities,
    host_interfaces,
    host_model_cpu,
    read_capabilities,
    read_guest_cpus,
)
from app.hypervisor.domain_facts import DomainFacts
from app.hypervisor.domain_tree import BadXml
from app.hypervisor.metrics import CallMetrics
from app.hypervisor.subscription import Subscriptions, disconnected
from app.hypervisor.threads import Lane

log = structlog.get_logger()

T = TypeVar("T")
Call = Callable[["libvirt.virConnect"], T]
MIB = 1 << 20
KIB = 1 << 10
UNCAPPED_MIB = 1 << 20
"""A TiB per second."""
LONGEST_DOWNTIME_MS = 2_000_000
"""The most that QEMU takes. It stops the guest as soon as what is left can be sent in that time: at once."""
ZSTD_SINCE, SWITCHOVER_SINCE = 9_004_000, 11_001_000
"""libvirt's versions, as it counts them."""
KEEPALIVE_INTERVAL_S = 3
KEEPALIVE_COUNT = 3
"""About 10 s until a silent host is noticed; 5 × 3 took 18 s."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a host may take. A healthy one answers reads in milliseconds."""

    connect_s: float = 10
    read_s: float = 10
    work_s: float = 90
    """Starting a guest, and destroying one: libvirt itself waits 15 s for QEMU to end."""
    probe_s: float = 1
    """For what libvirt answers only when a worker is free; without an answer the job counts as OTHER."""


_STATES: Mapping[int, State] = {
    libvirt.VIR_DOMAIN_NOSTATE: State.RUNNING,
    libvirt.VIR_DOMAIN_RUNNING: State.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: State.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: State.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: State.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: State.SHUTOFF,
    libvirt.VIR_DOMAIN_CRASHED: State.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: State.RUNNING,
}
"""What may run counts as RUNNING: a guest that sleeps by its own choice wakes up by itself."""

_REASONS: Mapping[tuple[State, int], Reason] = {
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED): Reason.BOOTED,
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED): Reason.MIGRATED,
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED): Reason.MIGRATION_CANCELED,
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_UNPAUSED): Reason.USER,
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY): Reason.POSTCOPY,
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED): Reason.POSTCOPY_FAILED,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION): Reason.MIGRATION,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP): Reason.STARTING_UP,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER): Reason.USER,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY): Reason.POSTCOPY,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED): Reason.POSTCOPY_FAILED,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_CRASHED): Reason.CRASHED,
    (State.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN): Reason.SHUTDOWN,
    (State.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED): Reason.DESTROYED,
    (State.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED): Reason.CRASHED,
    (State.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED): Reason.MIGRATED,
    (State.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED): Reason.FAILED,
    (State.CRASHED, libvirt.VIR_DOMAIN_CRASHED_PANICKED): Reason.CRASHED,
}

_JOBS: Mapping[int, Job] = {
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT: Job.MIGRATION_OUT,
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN: Job.MIGRATION_IN,
}

_PHASES: Mapping[tuple[State, Reason], CopyPhase] = {
    (State.PAUSED, Reason.MIGRATION): CopyPhase.SWITCHING,
    (State.PAUSED, Reason.POSTCOPY): CopyPhase.POST_COPY,
    (State.PAUSED, Reason.POSTCOPY_FAILED): CopyPhase.POST_COPY,
}

_CHANGES: Mapping[int, Change] = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: Change.DEFINED,
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: Change.UNDEFINED,
    libvirt.VIR_DOMAIN_EVENT_STARTED: Change.STARTED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: Change.SUSPENDED,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: Change.RESUMED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: Change.STOPPED,
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: Change.SHUTDOWN,
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: Change.SUSPENDED,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: Change.CRASHED,
}

_DETAILS: Mapping[tuple[Change, int], str] = {
    (Change.STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED): "booted",
    (Change.STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED): "migrated",
    (Change.SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED): "paused",
    (Change.SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED): "migrated",
    (Change.SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY): "postcopy",
    (Change.SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED): "postcopy-failed",
    (Change.RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED): "unpaused",
    (Change.RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED): "migrated",
    (Change.RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY): "postcopy",
    (Change.RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY_FAILED): "postcopy-failed",
    (Change.STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN): "shutdown",
    (Change.STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED): "destroyed",
    (Change.STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED): "crashed",
    (Change.STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED): "migrated",
    (Change.STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED): "failed",
    (Change.CRASHED, libvirt.VIR_DOMAIN_EVENT_CRASHED_PANICKED): "panicked",
}

Errors = Mapping[int, type[HypervisorError]]
"""From libvirt's error codes, never from its texts. What is not named is Refused (a migration: MigrationFailed)."""

_ERRORS: Errors = {
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
_DEFINE_ERRORS: Errors = {**_ERRORS, libvirt.VIR_ERR_INVALID_ARG: Incompatible}

_MIGRATION_ERRORS: Errors = {
    libvirt.VIR_ERR_OPERATION_ABORTED: Aborted,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: Busy,
    libvirt.VIR_ERR_OPERATION_INVALID: Refused,
    libvirt.VIR_ERR_CPU_INCOMPATIBLE: Incompatible,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: Incompatible,
    libvirt.VIR_ERR_MIGRATE_UNSAFE: Unsafe,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: Incompatible,
}

POOL_ATTEMPTS = 5
POOL_WAIT_S = 0.2
_POOL_IN_THE_WAY = frozenset(
    {
        libvirt.VIR_ERR_OPERATION_FAILED,
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_INTERNAL_ERROR,
    }
)

_EVENT_THREAD = "libvirt-events"
_starting = threading.Lock()

_ACTIVE = frozenset({State.RUNNING, State.PAUSED, State.SHUTTING_DOWN, State.CRASHED})

_WHOLE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
"""Never a file: what a guest needs elsewhere must not go with its definition here."""


def connect_factory() -> Hypervisors:
    """For the migration process: named by its path, so that it can be handed to another interpreter."""
    return LibvirtHypervisors()


class LibvirtHypervisors:
    """Opens connections to libvirtd; each is one host seen by one holder."""

    def __init__(self, deadlines: Deadlines | None = None, metrics: CallMetrics | None = None) -> None:
        self._deadlines = deadlines or Deadlines()
        self._metrics = metrics or CallMetrics()
        self._opened: set[LibvirtHypervisor] = set()

    async def connect(self, uri: str) -> Hypervisor:
        """Raises Unreachable, with libvirt's text, within its deadline."""
        with self._metrics.call("connect", uri):
            connection = await _dial(uri, self._deadlines.connect_s)
        opened = LibvirtHypervisor(uri, connection, self._deadlines, self._metrics)
        self._opened = {one for one in self._opened if one.connected} | {opened}
        await opened.listen()
        return opened

    async def close(self) -> None:
        for opened in self._opened:
            await opened.close()
        self._opened = set()


class LibvirtHypervisor:
    """
    One connection. A call that overruns its deadline breaks it: every later call raises Unreachable at once, listeners hear
    DISCONNECTED, and its holder connects again.

    libvirtd reads at most four unanswered requests of a connection, so there are four threads: one for what libvirtd
    answers at any time, one for what needs a free worker there, two for starting and stopping guests. Each running
    migration has a connection of its own.
    """

    def __init__(
        self, uri: str, connection: libvirt.virConnect, deadlines: Deadlines, metrics: CallMetrics | None = None
    ) -> None:
        self._uri = uri
        self._metrics = metrics or CallMetrics()
        self._connection = connection
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._prompt, self._patient, self._work = Lane("prompt", 1), Lane("patient", 1), Lane("work", 2)
        self._subscriptions = Subscriptions()
        self._broken: str | None = None
        self._events: tuple[int, ...] = ()
        """libvirt's numbers of our listening."""
        self._capabilities: tuple[Capabilities, tuple[GuestCpus, ...]] | None = None

    @property
    def uri(self) -> str:
        return self._uri

    @property
    def connected(self) -> bool:
        return self._broken is None

    async def listen(self) -> None:
        """Hear libvirtd's events, once, before anybody asks for them."""
        self._events = await self._ask(self._prompt, partial(_listen, heard=self._heard, ended=self._ended))

    async def host(self) -> Host:
        if self._capabilities is None:
            self._capabilities = await self._ask(self._patient, _capabilities)
        return await self._ask(self._prompt, partial(_host, *self._capabilities))

    async def domains(self) -> list[Domain]:
        return await self._with_jobs(await self._ask(self._prompt, _list_domains))

    async def look(self, domain: UUID) -> Domain:
        seen = await self._ask(self._prompt, partial(_look, domain))
        return (await self._with_jobs([seen]))[0]

    async def definition(self, domain: UUID) -> str:
        return await self._ask(self._patient, partial(_definition, domain))

    async def inspect(self, domain: UUID) -> Inspection:
        return await self._ask(self._patient, partial(_inspect, domain))

    async def judge(self, guest: Candidate) -> None:
        await self._ask(self._patient, partial(_judge, guest))

    async def disk_sizes(self, domain: UUID) -> Mapping[str, int]:
        return await self._ask(self._patient, partial(_disk_sizes, domain))

    async def make_disk(self, path: str, form: str, size: int) -> None:
        await self._ask(self._work, partial(_make_disk, path, form, size))

    async def remove_disk(self, path: str) -> None:
        await self._ask(self._work, partial(_remove_disk, path))

    async def define_and_start(self, domain_xml: str, *, paused: bool = False) -> None:
        await self._ask(self._work, partial(_define_and_start, domain_xml, paused), _DEFINE_ERRORS)

    async def power_off(self, domain: UUID) -> None:
        await self._ask(self._work, partial(_power_off, domain))

    async def destroy(self, domain: UUID, *, unless_running: bool = False) -> None:
        await self._ask(self._work, partial(_destroy, domain, unless_running))

    async def suspend(self, domain: UUID) -> None:
        await self._ask(self._work, partial(_suspend, domain))

    async def resume(self, domain: UUID) -> None:
        await self._ask(self._work, partial(_resume, domain))

    async def undefine(self, domain: UUID) -> None:
        await self._ask(self._work, partial(_undefine, domain))

    async def make_transient(self, domain: UUID) -> None:
        await self._ask(self._work, partial(_make_transient, domain))

    async def set_autostart(self, domain: UUID, on: bool) -> None:
        await self._ask(self._work, partial(_set_autostart, domain, on))

    async def mark(self, domain: UUID, mark: Mark) -> None:
        await self._ask(self._work, partial(_write_mark, domain, mark))

    async def migrate(self, domain: UUID, to: Destination, *, still: Callable[[], None] | None = None) -> None:
        await self._block(partial(_migrate, domain, to, still))

    async def recover(self, domain: UUID, to: Destination, *, still: Callable[[], None] | None = None) -> None:
        await self._block(partial(_recover, domain, to, still))

    async def _block(self, call: Call[None]) -> None:
        """For as long as it takes, on a connection of its own."""
        if self._broken is not None:
            raise Unreachable(self._broken)
        connection = await _dial(self._uri, self._deadlines.connect_s)
        lane = Lane("migrate", 1)
        try:
            await lane.run(partial(_translated, call, connection, _ERRORS))
        finally:
            # A call that still blocks in its thread keeps its share of the connection, and the job goes on.
            _hang_up_meanwhile(connection)
            lane.end()

    async def progress(self, domain: UUID) -> Progress | None:
        return await self._ask(self._patient, partial(_progress, domain))

    async def completed(self, domain: UUID) -> Completed | None:
        return await self._ask(self._patient, partial(_completed, domain))

    async def steer(self, domain: UUID, steer: Steer) -> None:
        await self._ask(self._patient, partial(_steer, domain, steer))

    def lifecycle(self) -> AsyncIterator[Lifecycle]:
        subscription = self._subscriptions.open()
        if self._broken is not None:
            subscription.put(disconnected(time.time()))
        return subscription

    async def close(self) -> None:
        self._break(f"the connection to {self._uri} was closed")

    async def _ask(self, lane: Lane, call: Call[T], errors: Errors = _ERRORS) -> T:
        deadline_s = self._deadlines.work_s if lane is self._work else self._deadlines.read_s
        if self._broken is not None:
            raise Unreachable(self._broken)
        with self._metrics.call(_verb(call), self._uri):
            try:
                async with asyncio.timeout(deadline_s):
                    return await lane.run(partial(_translated, call, self._connection, errors))
            except TimeoutError:
                text = f"{self._uri} did not answer within {deadline_s:g} s"
                self._break(text)
                raise Unreachable(text) from None

    async def _with_jobs(self, seen: list[Domain]) -> list[Domain]:
        """Jobs and marks need a free worker in libvirtd. Without one every active domain counts as busy."""
        if all(domain.state is State.ABSENT for domain in seen):
            return seen
        probe = partial(_translated, partial(_probe, seen), self._connection, _ERRORS)
        try:
            async with asyncio.timeout(self._deadlines.probe_s * (1 + len(seen) / 20)):
                return await self._patient.run(probe)
        except (TimeoutError, Busy):
            return [replace(domain, job=Job.OTHER if domain.state in _ACTIVE else Job.NONE) for domain in seen]

    def _heard(self, event: Lifecycle) -> None:
        """Called in libvirt's thread."""
        self._post(partial(self._subscriptions.tell, event))

    def _ended(self, reason: int) -> None:
        """Called in libvirt's thread."""
        self._post(partial(self._break, f"the connection to {self._uri} ended (libvirt's reason {reason})"))

    def _post(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(call)

    def _break(self, text: str) -> None:
        if self._broken is not None:
            return
        self._broken = text
        self._subscriptions.tell(disconnected(time.time()))
        for lane in (self._prompt, self._patient, self._work):
            lane.end()
        _hang_up_meanwhile(self._connection, self._events)


def _verb(call: Call[Any]) -> str:
    """What a call is named in metrics: its function, of which there are as many as this file has."""
    named = call.func if isinstance(call, partial) else call
    return str(getattr(named, "__name__", "call")).lstrip("_")


# Connections. Everything below runs in the driver's threads.


async def _dial(uri: str, deadline_s: float) -> libvirt.virConnect:
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


def _listen(
    connection: libvirt.virConnect, heard: Callable[[Lifecycle], None], ended: Callable[[int], None]
) -> tuple[int, ...]:
    def on_event(_: object, domain: Any, event: int, detail: int, __: object) -> None:
        change = _CHANGES.get(event)
        if change is not None:
            text = _DETAILS.get((change, detail), "")
            heard(Lifecycle(UUID(bytes=domain.UUID()), change, text, time.time()))

    def on_iteration(_: object, domain: Any, iteration: int, __: object) -> None:
        heard(Lifecycle(UUID(bytes=domain.UUID()), Change.ITERATED, str(iteration), time.time()))

    def on_close(_: object, reason: int, __: object) -> None:
        ended(reason)

    connection.registerCloseCallback(on_close, None)
    return (
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_event, None),
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, on_iteration, None),
    )


def _hang_up_meanwhile(connection: libvirt.virConnect, events: tuple[int, ...] = ()) -> None:
    """On a frozen host it blocks, and nobody waits for it."""
    threading.Thread(target=_hang_up, args=(connection, events), name="hang-up", daemon=True).start()


def _hang_up(connection: libvirt.virConnect, events: tuple[int, ...]) -> None:
    with contextlib.suppress(libvirt.libvirtError):  # it is broken already
        connection.unregisterCloseCallback()
    for number in events:
        with contextlib.suppress(libvirt.libvirtError):
            connection.domainEventDeregisterAny(number)
    with contextlib.suppress(libvirt.libvirtError):
        connection.close()


def _translated(call: Call[T], connection: libvirt.virConnect, errors: Errors) -> T:
    """
    The error is raised without its past: frames in it would hold domains, and with the last of them the connection would be
    closed, which waits for the host, wherever the error is forgotten: in the event loop.
    """
    try:
        return call(connection)
    except libvirt.libvirtError as error:
        failure = _port_error(error, connection, errors, Refused)
    except HypervisorError as error:
        failure = _bare(error)
    raise failure


def _bare(error: HypervisorError) -> HypervisorError:
    return type(error)(error.text, error.code)


def _port_error(
    error: libvirt.libvirtError, connection: libvirt.virConnect, errors: Errors, otherwise: type[HypervisorError]
) -> HypervisorError:
    code = error.get_error_code()
    # A broken connection has the same codes as many an error on the host: ask the connection.
    kind = errors.get(code, otherwise) if _alive(connection) else Unreachable
    return kind(error.get_error_message() or str(error), code)


def _alive(connection: libvirt.virConnect) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


# Looking.


def _find(connection: libvirt.virConnect, domain: UUID) -> Any:
    return connection.lookupByUUID(domain.bytes)


def _look(domain: UUID, connection: libvirt.virConnect) -> Domain:
    try:
        return _glance(_find(connection, domain))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return Domain(domain, State.ABSENT)
        raise


def _list_domains(connection: libvirt.virConnect) -> list[Domain]:
    seen = (_look(UUID(bytes=found.UUID()), connection) for found in connection.listAllDomains())
    return [domain for domain in seen if domain.state is not State.ABSENT]


def _glance(found: Any) -> Domain:
    """Only calls that libvirtd answers while all its ordinary workers are busy."""
    state, reason = _state(found)
    persistent = bool(found.isPersistent())
    return Domain(
        uuid=UUID(bytes=found.UUID()),
        state=state,
        reason=reason,
        name=found.name(),
        persistent=persistent,
        autostart=persistent and bool(found.autostart()),
        memory=found.maxMemory() * KIB,
    )


def _state(found: Any) -> tuple[State, Reason]:
    number, detail = found.state()
    state = _STATES.get(number, State.RUNNING)
    return state, _REASONS.get((state, detail), Reason.OTHER)


def _probe(seen: list[Domain], connection: libvirt.virConnect) -> list[Domain]:
    return [_probed(domain, connection) for domain in seen]


def _probed(domain: Domain, connection: libvirt.virConnect) -> Domain:
    """The state is read again after the job: a job that has just ended must not leave an older state beside it."""
    if domain.state is State.ABSENT:
        return domain
    try:
        found = _find(connection, domain.uuid)
        job, mark, vcpus = _job(found), _read_mark(found), _vcpus(found)
        return replace(_glance(found), job=job, mark=mark, vcpus=vcpus)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return Domain(domain.uuid, State.ABSENT)
        raise


def _job(found: Any) -> Job:
    stats = _job_stats(found)
    if stats is None:
        return Job.MIGRATION_IN
    if stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE:
        return Job.NONE
    return _JOBS.get(stats.get("operation", 0), Job.OTHER)


def _job_stats(found: Any) -> dict[str, Any] | None:
    """Empty without a job. None for a guest that arrives: libvirt has numbers only where it leaves."""
    try:
        stats: dict[str, Any] = found.jobStats()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            return {}  # it is not running
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
            return None
        raise
    return stats


def _vcpus(found: Any) -> int:
    return int(found.vcpusFlags(libvirt.VIR_DOMAIN_VCPU_MAXIMUM))


def _read_mark(found: Any) -> Mark | None:
    try:
        text = found.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, marks.MARK_NAMESPACE)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            return None
        raise
    return marks.read_mark(text)


def _definition(domain: UUID, connection: libvirt.virConnect) -> str:
    flags = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
    return str(_find(connection, domain).XMLDesc(flags))


def _inspect(domain: UUID, connection: libvirt.virConnect) -> Inspection:
    found = _find(connection, domain)
    if not found.isActive():
        raise Refused(f"{found.name()} is not running")
    xml = str(found.XMLDesc(0))
    disks = [disk.target for disk in _read(xml).disks if disk.device == "disk" and disk.target]
    return Inspection(xml, found.snapshotNum(), tuple(disk for disk in disks if found.blockJobInfo(disk, 0)))


_COMPARED = ("", "x86_64", "i686", "s390x")
"""Of other architectures libvirt compares no CPUs."""


def _judge(guest: Candidate, connection: libvirt.virConnect) -> None:
    for found in (_found(connection.lookupByUUID, guest.uuid.bytes), _found(connection.lookupByName, guest.name)):
        if found is not None and (found.isActive() or UUID(bytes=found.UUID()) != guest.uuid):
            raise DomainExists(f"a domain {found.name()} ({found.UUIDString()}) is there")
    if guest.cpu_xml and guest.arch in _COMPARED:
        # On no it raises CPU_INCOMPATIBLE, and names what is missing.
        flags = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
        machine, kind = guest.machine or None, guest.domain_type or None
        connection.compareHypervisorCPU(None, guest.arch or None, machine, kind, guest.cpu_xml, flags)


def _found(look_up: Callable[[Any], Any], what: Any) -> Any | None:
    try:
        return look_up(what)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _capabilities(connection: libvirt.virConnect) -> tuple[Capabilities, tuple[GuestCpus, ...]]:
    read = read_capabilities(connection.getCapabilities())
    return read, tuple(_guest_cpus(read.arch, kind, connection) for kind in read.domain_types)


def _guest_cpus(arch: str, domain_type: str, connection: libvirt.virConnect) -> GuestCpus:
    xml = connection.getDomainCapabilities(None, arch, None, domain_type)
    return read_guest_cpus(xml, domain_type, _expanded(host_model_cpu(xml), arch, domain_type, connection))


def _expanded(cpu: str, arch: str, domain_type: str, connection: libvirt.virConnect) -> str:
    """With the features that the model's name stands for; empty where this libvirt cannot say."""
    flags = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
    try:
        return str(connection.baselineHypervisorCPU(None, arch, None, domain_type, [cpu], flags)) if cpu else ""
    except libvirt.libvirtError as error:
        if _alive(connection):
            log.info("no list of CPU features", domain_type=domain_type, error=error.get_error_message())
            return ""
        raise


def _host(read: Capabilities, cpus: tuple[GuestCpus, ...], connection: libvirt.virConnect) -> Host:
    memory = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    unused = sum(memory.get(part, 0) for part in ("free", "buffers", "cached"))
    networks = _listed(connection, lambda: connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE))
    interfaces = _listed(connection, lambda: connection.listAllInterfaces(libvirt.VIR_CONNECT_LIST_INTERFACES_ACTIVE))
    return Host(
        uuid=read.uuid,
        hostname=connection.getHostname(),
        arch=read.arch,
        cpus=connection.getInfo()[2],
        memory=memory["total"] * KIB,
        memory_free=unused * KIB,
        hypervisor_version=_version(connection.getVersion()),
        libvirt_version=_version(connection.getLibVersion()),
        cpu_model=cpus[0].model if cpus else "",
        machine_types=read.machine_types,
        domain_types=read.domain_types,
        guest_cpus=cpus,
        hugepages=read.hugepages,
        networks=networks,
        interfaces=None if interfaces is None else host_interfaces(interfaces),
    )


def _listed(connection: libvirt.virConnect, call: Callable[[], list[Any]]) -> tuple[str, ...] | None:
    """Names; None where this libvirt was built or installed without that driver."""
    try:
        return tuple(sorted(one.name() for one in call()))
    except libvirt.libvirtError:
        if _alive(connection):
            return None
        raise


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


# Starting and stopping.


def _define_and_start(domain_xml: str, paused: bool, connection: libvirt.virConnect) -> None:
    former = _former(connection, domain_xml)
    if former is not None and former.isActive():
        return
    definition = former.XMLDesc(_WHOLE) if former is not None else None
    defined = _define(connection, domain_xml)
    try:
        if defined.autostart():
            defined.setAutostart(False)
        defined.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
    except libvirt.libvirtError:
        if _alive(connection) and not defined.isActive():
            _put_back(connection, defined, definition)
            raise
        if not _alive(connection):
            raise


def _former(connection: libvirt.virConnect, domain_xml: str) -> Any | None:
    """What the host knows under that UUID."""
    try:
        return connection.lookupByUUID(_facts(domain_xml)[0].bytes)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _facts(domain_xml: str) -> tuple[UUID, str]:
    """UUID and name."""
    facts = _read(domain_xml)
    if facts.uuid is None:
        raise Refused("the definition has no UUID")
    return facts.uuid, facts.name


def _read(domain_xml: str) -> DomainFacts:
    try:
        return domain_facts.read(domain_xml)
    except BadXml as error:
        raise Refused(f"the definition {error}") from error


def _define(connection: libvirt.virConnect, domain_xml: str) -> Any:
    try:
        return connection.defineXML(domain_xml)
    except libvirt.libvirtError as error:
        # libvirt has no code of its own for a name that is taken.
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED and _name_taken(connection, domain_xml):
            raise DomainExists(error.get_error_message() or str(error), error.get_error_code()) from error
        raise


def _name_taken(connection: libvirt.virConnect, domain_xml: str) -> bool:
    name = _facts(domain_xml)[1]
    return any(found.name() == name for found in connection.listAllDomains())


def _put_back(connection: libvirt.virConnect, defined: Any, definition: str | None) -> None:
    if definition is None:
        _forget(defined)
    else:
        connection.defineXML(definition)


def _power_off(domain: UUID, connection: libvirt.virConnect) -> None:
    found = _find(connection, domain)
    if found.isActive():
        found.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)


def _destroy(domain: UUID, unless_running: bool, connection: libvirt.virConnect) -> None:
    found = _find(connection, domain)
    if not found.isActive():
        return
    if unless_running and _state(found)[0] not in (State.PAUSED, State.CRASHED):
        raise Refused(f"{found.name()} runs: it is not destroyed")
    try:
        found.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_DEFAULT)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:  # it ended in the meantime
            raise


def _suspend(domain: UUID, connection: libvirt.virConnect) -> None:
    found = _find(connection, domain)
    if _state(found)[0] is not State.PAUSED:
        found.suspend()


def _resume(domain: UUID, connection: libvirt.virConnect) -> None:
    found = _find(connection, domain)
    if _state(found)[0] is not State.RUNNING:
        found.resume()


def _undefine(domain: UUID, connection: libvirt.virConnect) -> None:
    try:
        found = _find(connection, domain)
        # libvirt would make an active one transient: its definition would be lost with its end.
        if found.isActive():
            raise Refused(f"{found.name()} is active: only an inactive domain is undefined")
        _forget(found)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise


def _make_transient(domain: UUID, connection: libvirt.virConnect) -> None:
    found = _find(connection, domain)
    if not found.isActive():
        raise Refused(f"{found.name()} is not active: nothing would be left of it")
    if found.isPersistent():
        _forget(found)


def _forget(found: Any) -> None:
    """KEEP_TPM only where there is one: libvirt 9 hands it on to a list that does not know it, and logs an error each time."""
    has_tpm = "<tpm" in found.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    found.undefineFlags(_UNDEFINE | (libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM if has_tpm else 0))


def _set_autostart(domain: UUID, on: bool, connection: libvirt.virConnect) -> None:
    _find(connection, domain).setAutostart(on)


def _write_mark(domain: UUID, mark: Mark, connection: libvirt.virConnect) -> None:
    found = _find(connection, domain)
    if (job := _job(found)) is not Job.NONE:
        raise Busy(f"{found.name()} has a job ({job.value}): it cannot be marked now")
    flags = libvirt.VIR_DOMAIN_AFFECT_LIVE if found.isActive() else 0
    flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG if found.isPersistent() else 0
    element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
    found.setMetadata(element, marks.mark_xml(mark), marks.MARK_PREFIX, marks.MARK_NAMESPACE, flags)


# Disks.


def _disk_sizes(domain: UUID, connection: libvirt.virConnect) -> dict[str, int]:
    found = _find(connection, domain)
    disks = [disk.target for disk in _read(str(found.XMLDesc(0))).disks if disk.path and not disk.read_only]
    return {disk: int(found.blockInfo(disk)[0]) for disk in disks}


def _make_disk(path: str, form: str, size: int, connection: libvirt.virConnect) -> None:
    folder, name = posixpath.split(path)
    _in_pool(connection, folder, lambda pool: pool.createXML(_volume_xml(name, form, size), 0), make=True)


def _remove_disk(path: str, connection: libvirt.virConnect) -> None:
    folder, name = posixpath.split(path)

    def remove(pool: Any) -> None:
        try:
            pool.storageVolLookupByName(name).delete(0)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise

    _in_pool(connection, folder, remove)


def _in_pool(connection: libvirt.virConnect, folder: str, use: Callable[[Any], object], *, make: bool = False) -> None:
    """
    In the pool of that folder: the operator's where there is one, else one that is gone afterwards. Another connection may
    be doing the same, and take its own away meanwhile: so it is tried again.
    """
    for left in reversed(range(POOL_ATTEMPTS)):
        try:
            return _use_pool(connection, folder, use, make)
        except libvirt.libvirtError as error:
            if not left or error.get_error_code() not in _POOL_IN_THE_WAY:
                raise
        time.sleep(POOL_WAIT_S)
    return None


def _use_pool(connection: libvirt.virConnect, folder: str, use: Callable[[Any], object], make: bool) -> None:
    try:
        found = connection.storagePoolLookupByTargetPath(folder)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
            raise
    else:
        found.refresh(0)
        use(found)
        return
    made = _new_pool(connection, folder, make)
    try:
        use(made)
    finally:
        made.destroy()


def _new_pool(connection: libvirt.virConnect, folder: str, make: bool) -> Any:
    """Built only where the folder is not there: building would change the rights of one that is."""
    xml = _pool_xml(f"drover-{uuid4().hex[:12]}", folder)
    try:
        return connection.storagePoolCreateXML(xml, 0)
    except libvirt.libvirtError:
        if not make:
            raise
        return connection.storagePoolCreateXML(xml, libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)


def _pool_xml(name: str, folder: str) -> str:
    pool = Element("pool", {"type": "dir"})
    SubElement(pool, "name").text = name
    SubElement(SubElement(pool, "target"), "path").text = folder
    return tostring(pool, encoding="unicode")


def _volume_xml(name: str, form: str, size: int) -> str:
    volume = Element("volume")
    SubElement(volume, "name").text = name
    SubElement(volume, "capacity", {"unit": "bytes"}).text = str(size)
    SubElement(volume, "allocation").text = "0"
    SubElement(SubElement(volume, "target"), "format", {"type": form})
    return tostring(volume, encoding="unicode")


# Migrating.


def _migrate(domain: UUID, to: Destination, still: Callable[[], None] | None, connection: libvirt.virConnect) -> None:
    found, flags, parameters = _find(connection, domain), _flags(to), _parameters(to, connection.getLibVersion())
    if still is not None:
        still()
    try:
        if to.max_downtime_ms is not None and found.isActive():
            found.migrateSetMaxDowntime(to.max_downtime_ms)
        found.migrateToURI3(to.peer_uri, parameters, flags)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID and _has_job(found):
            raise Busy(error.get_error_message() or str(error), error.get_error_code()) from error
        raise _port_error(error, connection, _MIGRATION_ERRORS, MigrationFailed) from error


_WHERE = (libvirt.VIR_MIGRATE_PARAM_URI, libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION)
"""All that a recovery may be told."""


def _recover(domain: UUID, to: Destination, still: Callable[[], None] | None, connection: libvirt.virConnect) -> None:
    """QEMU may not have noticed that the link broke: until its copy is stopped it refuses to begin another."""
    found = _find(connection, domain)
    if _state(found) != (State.PAUSED, Reason.POSTCOPY_FAILED):
        raise Refused(f"{found.name()} has no post-copy that broke")
    if still is not None:
        still()
    with contextlib.suppress(libvirt.libvirtError):  # it has stopped already
        found.abortJobFlags(libvirt.VIR_DOMAIN_ABORT_JOB_POSTCOPY)
    resuming = _flags(to) | libvirt.VIR_MIGRATE_POSTCOPY | libvirt.VIR_MIGRATE_POSTCOPY_RESUME
    given = _parameters(to, connection.getLibVersion())
    where = {name: given[name] for name in _WHERE if name in given}
    try:
        found.migrateToURI3(to.peer_uri, where, resuming)
    except libvirt.libvirtError as error:
        raise _port_error(error, connection, _MIGRATION_ERRORS, MigrationFailed) from error


def _flags(to: Destination) -> int:
    chosen = {
        libvirt.VIR_MIGRATE_UNSAFE: to.unsafe,
        libvirt.VIR_MIGRATE_NON_SHARED_DISK: bool(to.disks),
        libvirt.VIR_MIGRATE_TLS: to.tls,
        libvirt.VIR_MIGRATE_POSTCOPY: to.post_copy,
        libvirt.VIR_MIGRATE_AUTO_CONVERGE: to.auto_converge is not None,
        libvirt.VIR_MIGRATE_PARALLEL: to.parallel_connections > 0,
        libvirt.VIR_MIGRATE_COMPRESSED: to.compression is not None,
    }
    flags: int = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_PERSIST_DEST
    for flag, wanted in chosen.items():
        flags |= flag if wanted else 0
    return flags


def _parameters(to: Destination, libvirt_version: int) -> dict[str, Any]:
    """Names that the binding knows only where it was built against a newer libvirt are spelled out."""
    if to.compression in (Compression.ZLIB, Compression.ZSTD) and libvirt_version < ZSTD_SINCE:
        raise Incompatible(
            f"libvirt {_version(libvirt_version)} cannot compress with {to.compression}: 9.4 or newer can, and xbzrle always"
        )
    cap = None if to.bandwidth is None else _mib(to.bandwidth)
    chosen = {
        libvirt.VIR_MIGRATE_PARAM_URI: to.migration_uri,
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: to.domain_xml,
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: to.domain_xml,
        libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS: list(to.disks) or None,
        libvirt.VIR_MIGRATE_PARAM_DISKS_URI: to.disks_uri if to.disks else None,
        libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: cap,
        libvirt.VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY: cap if to.post_copy else None,
        "bandwidth.avail.switchover": to.switchover_bandwidth if libvirt_version >= SWITCHOVER_SINCE else None,
        libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL: to.auto_converge and to.auto_converge.initial,
        libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT: to.auto_converge and to.auto_converge.increment,
        libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS: to.parallel_connections or None,
        libvirt.VIR_MIGRATE_PARAM_COMPRESSION: to.compression and [to.compression.value],
        libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION: to.tls_name if to.tls else None,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _mib(bytes_per_second: int) -> int:
    """libvirt takes 0 for "no cap"."""
    return max(1, round(bytes_per_second / MIB))


def _has_job(found: Any) -> bool:
    try:
        return _job(found) is not Job.NONE
    except libvirt.libvirtError:
        return False


def _progress(domain: UUID, connection: libvirt.virConnect) -> Progress | None:
    found = _find(connection, domain)
    stats = _job_stats(found)
    if not stats or _JOBS.get(stats.get("operation", 0)) is not Job.MIGRATION_OUT:
        return None
    return Progress(
        total=stats.get("data_total", 0),
        processed=stats.get("data_processed", 0),
        remaining=stats.get("data_remaining", 0),
        memory_rate=stats.get("memory_bps", 0),
        dirty_rate=stats.get("memory_dirty_rate", 0) * stats.get("memory_page_size", 4096),
        iteration=stats.get("memory_iteration", 0),
        elapsed_ms=stats.get("time_elapsed", 0),
        expected_downtime_ms=stats.get("downtime"),
        phase=_PHASES.get(_state(found), CopyPhase.LIVE),
        throttle=stats.get("auto_converge_throttle", 0),
        page_size=stats.get("memory_page_size", 4096),
        postcopy_requests=stats.get("memory_postcopy_requests", 0),
        disk_total=stats.get("disk_total", 0),
        disk_processed=stats.get("disk_processed", 0),
        disk_remaining=stats.get("disk_remaining", 0),
    )


def _completed(domain: UUID, connection: libvirt.virConnect) -> Completed | None:
    flags = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    stats = _find(connection, domain).jobStats(flags)
    if stats.get("type") != libvirt.VIR_DOMAIN_JOB_COMPLETED or stats.get("operation") not in _JOBS:
        return None
    return Completed(
        downtime_ms=stats.get("downtime"),
        elapsed_ms=stats.get("time_elapsed", 0),
        total=stats.get("data_total", 0),
        processed=stats.get("data_processed", 0),
        iterations=stats.get("memory_iteration", 0),
    )


def _steer(domain: UUID, steer: Steer, connection: libvirt.virConnect) -> None:
    found = _find(connection, domain)
    if _job(found) is not Job.MIGRATION_OUT:
        raise Refused(f"{found.name()} is not migrating away from here")
    match steer:
        case SetDowntime(ms):
            found.migrateSetMaxDowntime(ms)
        case SetBandwidth(bytes_per_second):
            found.migrateSetMaxSpeed(UNCAPPED_MIB if bytes_per_second is None else _mib(bytes_per_second))
        case SwitchToPostCopy():
            found.migrateStartPostCopy()
        case StopAndCopy():
            found.migrateSetMaxDowntime(LONGEST_DOWNTIME_MS)
        case Abort():
            found.abortJob()
        case _:
            assert_never(steer)
