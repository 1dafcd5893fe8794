"""What a guest's definition may name of its host: a list of what is allowed. Whatever is not on it is refused.

Definitions come from users and are obeyed by libvirtd, which on most hosts is root. So every element and attribute that
libvirt would read must be known here; those that name something of the host are held against the operator's Policy.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from app.machinery.errors import FieldError, forbidden, required


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator lets guests use of their hosts. Empty: nothing."""

    paths: tuple[str, ...] = ()
    """Prefixes of paths: images, kernels, firmware, serial ports' files and sockets."""
    bridges: tuple[str, ...] = ()
    """Bridges, libvirt networks, and host interfaces for macvtap."""
    emulators: tuple[str, ...] = ()
    """Emulators that may be named; the host's own default needs no permission."""
    disk_hosts: tuple[str, ...] = ()
    """Servers of network disks, `name` or `name:port`: the host connects to them with rights of its own."""

    def within(self, namespace: str) -> Policy:
        """
        For a guest of that namespace. An entry `namespace:what` counts there alone, one without a namespace everywhere.
        Servers of disks have ports, and count everywhere.
        """
        return Policy(
            paths=_of_namespace(self.paths, namespace),
            bridges=_of_namespace(self.bridges, namespace),
            emulators=_of_namespace(self.emulators, namespace),
            disk_hosts=self.disk_hosts,
        )

    def problem_of_path(self, path: str) -> str | None:
        """Why that path of the host's may not be used; None where it may."""
        return _path_problem(path, self)


def _of_namespace(entries: tuple[str, ...], namespace: str) -> tuple[str, ...]:
    split = [entry.partition(":") for entry in entries]
    return tuple(rest if colon else name for name, colon, rest in split if not colon or name == namespace)


MOST_IO_THREADS = 64
"""Each is a thread on the host that no request accounts for."""

FORMATS = ("raw", "qcow2")
"""Of images. Others may name further files in themselves (vmdk its extents), and a guest that once had one as a raw disk may
have written it."""

Check = Callable[[Element, Policy], Iterator[str]]
"""Says what is wrong with an element, its attributes and text."""


def _any(_element: Element, _policy: Policy) -> Iterator[str]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Allowed:
    """An element: which attributes and children it may have, and what else is looked at."""

    attributes: frozenset[str] = frozenset()
    children: Mapping[str, Allowed] = field(default_factory=dict)
    check: Check = _any
    inert: bool = False
    """Whatever is below it, libvirt does not act on it: not looked into."""
    plain: bool = False
    """Below it are words and numbers of the guest's own, of any name, and nothing that can be a path or address of the host's."""


def judge(root: Element, policy: Policy, paths: Mapping[Element, str]) -> Iterator[FieldError]:
    """Every element and attribute that is not allowed, by its path."""
    if root.tag != "domain":
        yield forbidden(paths[root], "must be a <domain>")
        return
    yield from _judge(root, DOMAIN, policy, paths)
    if root.findtext("os/type") is None:
        yield required(f"{paths[root]}.os.type", "the machine: hvm")


def _judge(element: Element, allowed: Allowed, policy: Policy, paths: Mapping[Element, str]) -> Iterator[FieldError]:
    path = paths[element]
    if allowed.inert:
        return
    if allowed.plain:
        yield from _judge_plain(element, paths)
        return
    for name in sorted(set(element.keys()) - allowed.attributes):
        yield forbidden(path, f"attribute {_shown(name)} is not allowed")
    yield from (forbidden(path, problem) for problem in allowed.check(element, policy))
    for child in element:
        known = allowed.children.get(child.tag)
        if known is None:
            yield forbidden(paths.get(child, path), f"element {_shown(child.tag)} is not allowed")
        else:
            yield from _judge(child, known, policy, paths)


def _judge_plain(element: Element, paths: Mapping[Element, str]) -> Iterator[FieldError]:
    for part in element.iter():
        if part.tag.startswith("{"):
            yield forbidden(paths.get(part, paths[element]), f"element {_shown(part.tag)} is not allowed")
        for name, value in (*part.items(), ("its text", part.text or "")):
            if name in _NAMES_OF_FILES or not _WORD.fullmatch(value.strip()):
                yield forbidden(paths.get(part, paths[element]), f"{name} {_shown(value)} is not allowed here")


_NAMES_OF_FILES = frozenset({"file", "path", "dev", "dir", "socket", "source", "rendernode", "binary"})
_WORD = re.compile(r"[\w .,:+-]{0,256}")
"""Of a CPU model, a timer, a PCI address, an ACPI index: `Intel(R)` is none, and no path is."""


def _shown(name: str) -> str:
    return f"'{name[:80]}'"


def paths_in_xml(root: Element, base: str) -> Mapping[Element, str]:
    """The path of each element: `devices.disk[0].source`, with an index where the parent may have several."""
    paths = {root: base}
    above = [root]
    while above:
        parent = above.pop()
        seen: dict[str, int] = {}
        for child in parent:
            index = seen.get(child.tag, 0)
            seen[child.tag] = index + 1
            several = parent.tag == "devices" and child.tag != "emulator"
            local = child.tag.rpartition("}")[2]
            paths[child] = f"{paths[parent]}.{local}" + (f"[{index}]" if several or index else "")
            above.append(child)
    return paths


# What is looked at


def _path_problem(path: str, policy: Policy) -> str | None:
    """As it is written: symbolic links lie on the hosts, and no call of libvirt's tells where one leads."""
    if not path.startswith("/") or any(ord(character) < 32 for character in path):
        return f"path {_shown(path)} is not absolute"
    if ".." in path.split("/"):
        return f"path {_shown(path)} has '..'"
    plain = posixpath.normpath("/" + path.lstrip("/"))
    for prefix in policy.paths:
        allowed = posixpath.normpath("/" + prefix.lstrip("/"))
        if plain.startswith(allowed.rstrip("/") + "/"):
            return None
    return f"path {_shown(path)} is not below any that the operator allows"


def _paths(*attributes: str, text: bool = False) -> Check:
    """These attributes, and perhaps the text, are paths on the host."""

    def check(element: Element, policy: Policy) -> Iterator[str]:
        values = [element.get(name) for name in attributes] + ([element.text] if text else [])
        for value in values:
            if value and (problem := _path_problem(value, policy)):
                yield problem

    return check


def _values(**allowed: tuple[str, ...]) -> Check:
    """These attributes have one of these values."""

    def check(element: Element, _policy: Policy) -> Iterator[str]:
        for name, values in allowed.items():
            value = element.get(name)
            if value is not None and value not in values:
                yield f"{name} {_shown(value)} is not allowed: use {', '.join(values)}"

    return check


def _text(*allowed: str) -> Check:
    def check(element: Element, _policy: Policy) -> Iterator[str]:
        if (element.text or "").strip() not in allowed:
            yield f"{_shown(element.text or '')} is not allowed: use {', '.join(allowed)}"

    return check


def _both(*checks: Check) -> Check:
    def check(element: Element, policy: Policy) -> Iterator[str]:
        for each in checks:
            yield from each(element, policy)

    return check


def _few(name: str) -> Check:
    """That attribute is a number of threads."""

    def check(element: Element, _policy: Policy) -> Iterator[str]:
        if (text := element.get(name)) is not None and not _is_few(text):
            yield f"{name} must be a number of threads up to {MOST_IO_THREADS}"

    return check


def _few_threads(element: Element, _policy: Policy) -> Iterator[str]:
    if not _is_few((element.text or "").strip()):
        yield f"must be a number of threads up to {MOST_IO_THREADS}"


def _is_few(text: str) -> bool:
    return bool(text.isascii() and text.isdigit() and len(text) <= 4 and int(text) <= MOST_IO_THREADS)


def _emulator(element: Element, policy: Policy) -> Iterator[str]:
    if (element.text or "") not in policy.emulators:
        yield f"emulator {_shown(element.text or '')} is not one that the operator allows: leave it out for the host's own"


def _bridge(element: Element, policy: Policy) -> Iterator[str]:
    for name in ("bridge", "network", "dev"):
        value = element.get(name)
        if value is not None and value not in policy.bridges:
            yield f"{name} {_shown(value)} is not one that the operator allows"


def _has_source(element: Element, _policy: Policy) -> Iterator[str]:
    if element.find("source") is None:
        yield "has no source: name a bridge or network that the operator allows"


def _disk_host(element: Element, policy: Policy) -> Iterator[str]:
    name, port = element.get("name") or "", element.get("port")
    if name not in policy.disk_hosts and f"{name}:{port}" not in policy.disk_hosts:
        yield f"server {_shown(name)} is not one that the operator allows"


def _network_disk(element: Element, _policy: Policy) -> Iterator[str]:
    """Without a host, libvirt's drivers fall back to the host's own configuration, or to localhost."""
    if element.get("protocol") is None:
        return
    if element.get("protocol") not in ("rbd", "nbd", "iscsi"):
        yield f"protocol {_shown(element.get('protocol') or '')} is not allowed: use rbd, nbd, iscsi"
    if element.find("host") is None:
        yield "names no server"


def _listens(*attributes: str) -> Check:
    """Only where nobody outside the host can reach it."""

    def check(element: Element, _policy: Policy) -> Iterator[str]:
        for name in attributes:
            value = element.get(name)
            if value and not _is_loopback(value):
                yield f"address {_shown(value)} can be reached from outside: use 127.0.0.1"

    return check


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


_PTY = re.compile(r"/dev/pts/[0-9]{1,6}")


def _line(element: Element, policy: Policy) -> Iterator[str]:
    """Serial ports, consoles and channels: their own type says what the source's path means."""
    kind = element.get("type", "")
    if kind not in _LINE_TYPES:
        yield f"type {_shown(kind)} is not allowed: use {', '.join(_LINE_TYPES)}"
    for source in element.findall("source"):
        path = source.get("path")
        if path and not (kind == "pty" and _PTY.fullmatch(path)) and (problem := _path_problem(path, policy)):
            yield f"source: {problem}"


_LINE_TYPES = ("pty", "null", "vc", "file", "unix", "dev", "pipe", "spicevmc", "qemu-vdagent")


def _filesystem(element: Element, _policy: Policy) -> Iterator[str]:
    if element.get("type", "mount") != "mount":
        yield "type is not allowed: use mount"


# The list


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _of(attributes: str = "", check: Check = _any, **children: Allowed) -> Allowed:
    return Allowed(_names(attributes), children, check)


INERT = Allowed(plain=True)
UNREAD = Allowed(inert=True)
_PLAIN = _of()
_PATH_TEXT = _of(check=_paths(text=True))
_UNIT = _of("unit dumpCore")
_ENTRIES = _of(entry=_of("name"))
_ALIAS = _of("name")
_COMMON = {"alias": _ALIAS, "address": INERT, "boot": _of("order loadparm"), "acpi": _of("index")}
_SWITCH = _of("state")


def _device(attributes: str = "", check: Check = _any, **children: Allowed) -> Allowed:
    made = _of(attributes, check, **children)
    return Allowed(made.attributes, {**_COMMON, **made.children}, made.check)


_DISK_SOURCE_CHILDREN = {
    "host": _of("name port transport", _both(_disk_host, _values(transport=("tcp",)))),
    "auth": _of("username", secret=_of("type usage uuid")),
    "initiator": _of(iqn=_of("name")),
}
_DISK_SOURCE = Allowed(
    _names("file dev startupPolicy index protocol name"),
    _DISK_SOURCE_CHILDREN,
    _both(_paths("file", "dev"), _network_disk),
)
_DISK_TYPES = ("file", "block", "network")


def _backing_store(depth: int) -> Allowed:
    below = {"backingStore": _backing_store(depth - 1)} if depth else {}
    children = {"format": _of("type", _values(type=FORMATS), metadata_cache=INERT), "source": _DISK_SOURCE, **below}
    return Allowed(_names("type index"), children, _values(type=_DISK_TYPES))


_DISK = _device(
    "type device model snapshot",
    _values(type=_DISK_TYPES, device=("disk", "cdrom", "floppy"), snapshot=("no", "internal", "external", "manual")),
    source=_DISK_SOURCE,
    backingStore=_backing_store(8),
    driver=Allowed(
        _names(
            "name type cache error_policy rerror_policy io ioeventfd event_idx copy_on_read discard discard_no_unref "
            "detect_zeroes iothread queues queue_size packed ats iommu page_per_vq"
        ),
        {"metadata_cache": INERT},
        _values(name=("qemu",), type=FORMATS),
    ),
    auth=_DISK_SOURCE_CHILDREN["auth"],
    target=_of("dev bus tray removable rotation_rate"),
    iotune=INERT,
    readonly=_PLAIN,
    shareable=_PLAIN,
    serial=_PLAIN,
    wwn=_PLAIN,
    vendor=_PLAIN,
    product=_PLAIN,
    blockio=INERT,
    geometry=INERT,
)

_INTERFACE = _device(
    "type",
    _both(_values(type=("bridge", "network", "direct")), _has_source),
    source=_of(
        "network bridge dev mode portgroup portid index", _both(_bridge, _values(mode=("bridge", "vepa", "private")))
    ),
    mac=_of("address type check"),
    model=_of("type"),
    target=_of("dev"),
    driver=Allowed(
        _names(
            "name txmode ioeventfd event_idx queues rx_queue_size tx_queue_size rss rss_hash_report iommu ats packed "
            "page_per_vq"
        ),
        {"host": INERT, "guest": INERT},
        _values(name=("qemu", "vhost")),
    ),
    guest=_of("dev"),
    rom=_of("bar file enabled", _paths("file")),
    link=_of("state"),
    mtu=_of("size"),
    coalesce=INERT,
    filterref=_of("filter", parameter=_of("name value")),
    bandwidth=_of(inbound=_of("average peak burst floor"), outbound=_of("average peak burst")),
    port=_of("isolated"),
    tune=INERT,
)

_LINE = _device(
    "type tty",
    _line,
    source=_of("path append mode startupPolicy", _values(mode=("bind", "connect")), reconnect=_of("enabled timeout")),
    target=_of("type name port address state", model=_of("name")),
    log=_of("file append", _paths("file")),
    clipboard=INERT,
)

_GRAPHICS = _device(
    "type port tlsPort autoport websocket listen socket keymap passwd passwdValidTo connected defaultMode sharePolicy",
    _both(_values(type=("vnc", "spice")), _listens("listen"), _paths("socket")),
    listen=_of(
        "type address network socket",
        _both(_values(type=("address", "network", "socket", "none")), _listens("address"), _bridge, _paths("socket")),
    ),
    channel=_of("name mode"),
    image=INERT,
    jpeg=INERT,
    zlib=INERT,
    playback=INERT,
    streaming=INERT,
    mouse=INERT,
    clipboard=INERT,
    filetransfer=INERT,
    gl=_of("enable"),
)

_DEVICES = _of(
    emulator=_of(check=_emulator),
    disk=_DISK,
    interface=_INTERFACE,
    serial=_LINE,
    parallel=_LINE,
    console=_LINE,
    channel=_LINE,
    graphics=_GRAPHICS,
    controller=INERT,
    input=_device("type bus model", _values(type=("tablet", "mouse", "keyboard")), driver=INERT),
    video=_of(
        model=_of(
            "type ram vram vram64 vgamem heads primary blob edid",
            acceleration=_of("accel2d accel3d"),
            resolution=INERT,
        ),
        driver=_of("name vgaconf iommu ats packed", _values(name=("qemu",))),
        alias=_ALIAS,
        address=INERT,
    ),
    sound=_device("model multichannel streams", codec=_of("type"), audio=_of("id"), driver=INERT),
    audio=_of("id type", _values(type=("none", "spice"))),
    watchdog=_device("model action", _values(action=("reset", "shutdown", "poweroff", "pause", "none", "inject-nmi"))),
    memballoon=_device("model autodeflate freePageReporting", stats=_of("period"), driver=INERT),
    rng=_device(
        "model",
        rate=INERT,
        backend=_of(
            "model",
            _both(_values(model=("random", "builtin")), _text("", "/dev/random", "/dev/urandom")),
        ),
        driver=INERT,
    ),
    hub=_device("type"),
    panic=_device("model"),
    tpm=_device(
        "model",
        backend=_of("type version persistent_state", _values(type=("emulator",)), active_pcr_banks=INERT),
    ),
    iommu=_device("model", driver=INERT),
    vsock=_device("model", cid=_of("auto address"), driver=INERT),
    redirdev=_device("bus type", _values(type=("spicevmc",))),
    redirfilter=INERT,
    nvram=_device(),
    filesystem=_device(
        "type accessmode",
        _both(_filesystem, _values(accessmode=("mapped",))),
        source=_of("dir", _paths("dir")),
        target=_of("dir"),
        readonly=_PLAIN,
    ),
)

_OS = _of(
    "firmware",
    type=_of("arch machine", _text("hvm")),
    firmware=INERT,
    loader=_of("readonly secure type stateless format", _paths(text=True)),
    nvram=_of("template type format templateFormat", _both(_values(type=("file",)), _paths("template", text=True))),
    kernel=_PATH_TEXT,
    initrd=_PATH_TEXT,
    dtb=_PATH_TEXT,
    cmdline=_PLAIN,
    boot=_of("dev"),
    bootmenu=_of("enable timeout"),
    smbios=_of("mode", _values(mode=("emulate", "sysinfo"))),
    bios=_of("useserial rebootTimeout"),
    acpi=_of(table=_of("type", _paths(text=True))),
)

_SYSINFO = _of(
    "type",
    _values(type=("smbios",)),
    bios=_ENTRIES,
    system=_ENTRIES,
    baseBoard=_ENTRIES,
    chassis=_ENTRIES,
    oemStrings=_of(entry=_PLAIN),
)

_CPUTUNE = Allowed(
    children={
        **dict.fromkeys(
            _names("shares period quota global_period global_quota emulator_period emulator_quota"), _PLAIN
        ),
        "vcpupin": _of("vcpu cpuset"),
        "emulatorpin": _of("cpuset"),
    }
)

DOMAIN = _of(
    "type id",
    _values(type=("qemu", "kvm")),
    name=_PLAIN,
    uuid=_PLAIN,
    genid=_PLAIN,
    title=_PLAIN,
    description=_PLAIN,
    metadata=UNREAD,
    memory=_UNIT,
    currentMemory=_UNIT,
    maxMemory=_of("unit slots"),
    vcpu=_of("placement cpuset current"),
    vcpus=_of(vcpu=_of("id enabled hotpluggable order")),
    iothreads=_of(check=_few_threads),
    cputune=_CPUTUNE,
    memtune=_of(hard_limit=_UNIT, soft_limit=_UNIT, swap_hard_limit=_UNIT),
    numatune=INERT,
    memoryBacking=_of(
        hugepages=INERT,
        nosharepages=_PLAIN,
        source=_of("type", _values(type=("anonymous", "memfd"))),
        access=_of("mode"),
        allocation=_of("mode threads", _few("threads")),
        discard=_PLAIN,
    ),
    resource=_of(partition=_of(check=_text("/machine"))),
    sysinfo=_SYSINFO,
    os=_OS,
    features=INERT,
    cpu=INERT,
    clock=INERT,
    on_poweroff=_of(check=_text("destroy", "restart", "preserve", "rename-restart")),
    on_reboot=_of(check=_text("destroy", "restart", "preserve", "rename-restart")),
    on_crash=_of(check=_text("destroy", "restart", "preserve", "rename-restart")),
    pm=INERT,
    devices=_DEVICES,
)
