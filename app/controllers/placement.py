"""Which nodes a guest may run on, why the others are out, and which is best. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from app.kinds import quantity
from app.kinds.names import HOSTNAME
from app.machinery.objects import Document

_FINISHED = ("Succeeded", "Failed")
_REPELLING = ("NoSchedule", "NoExecute")
_MIB = 2**20


class Contradiction(Exception):
    """The VM's node selector and the Migration's want different values of one key: no node can have both."""

    def __init__(self, key: str, vm_value: str, migration_value: str) -> None:
        super().__init__(f"the VirtualMachine wants {key}={vm_value}, the Migration wants {key}={migration_value}")
        self.key = key
        self.vm_value = vm_value
        self.migration_value = migration_value


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        """As kube-scheduler prints one: {key: value}."""
        return f"{{{self.key}: {self.value}}}"


@dataclass(frozen=True, slots=True)
class NodeView:
    """What placement knows of a node. Memory in bytes, CPU in thousandths."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ready: bool = True
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    memory: int = 0
    """Allocatable."""
    cpu_milli: int = 0
    """Allocatable."""
    memory_reserved: int = 0
    cpu_milli_reserved: int = 0

    @property
    def memory_free(self) -> int:
        return self.memory - self.memory_reserved

    @property
    def cpu_milli_free(self) -> int:
        return self.cpu_milli - self.cpu_milli_reserved


@dataclass(frozen=True, slots=True)
class Need:
    """What a guest asks of a node. `affinity` is a core v1 nodeAffinity."""

    memory: int
    """Bytes, QEMU's overhead included."""
    cpu_milli: int
    node_selector: Mapping[str, str] = field(default_factory=dict)
    affinity: Document = field(default_factory=dict)
    source: str | None = None
    """The node that the guest leaves; None when it is started for the first time."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Nodes that are out for another reason, which is said: `node(s) already have a domain of that name`."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Nodes that fit, best first, and of each other node why not."""

    fitting: tuple[str, ...]
    excluded: Mapping[str, str]

    @property
    def total(self) -> int:
        return len(self.fitting) + len(self.excluded)

    def message(self) -> str:
        """In kube-scheduler's form: `0/3 nodes are available: 1 node is the source, 2 Insufficient memory.`"""
        if not self.total:
            return "no nodes available to schedule pods"
        counted = sorted(f"{count} {reason}" for reason, count in Counter(self.excluded.values()).items())
        available = f"{len(self.fitting)}/{self.total} nodes are available"
        return f"{available}: {', '.join(counted)}." if counted else f"{available}."

    def details(self) -> str:
        """Every excluded node by name, and why."""
        return "; ".join(f"{name}: {reason}" for name, reason in sorted(self.excluded.items()))


def place(need: Need, nodes: Iterable[NodeView]) -> Placement:
    """Filter, then score: preferred affinity first, then the most free memory, then the name."""
    fitting: list[NodeView] = []
    excluded: dict[str, str] = {}
    for node in nodes:
        reason = why_not(need, node)
        if reason is None:
            fitting.append(node)
        else:
            excluded[node.name] = reason
    fitting.sort(key=lambda node: (-_preference(need, node), -node.memory_free, node.name))
    return Placement(tuple(node.name for node in fitting), MappingProxyType(excluded))


def why_not(need: Need, node: NodeView) -> str | None:
    """The first filter that the node does not pass, in the words of the message; None when it fits."""
    if node.name == need.source:
        return "node is the source"
    if node.name in need.excluded:
        return need.excluded[node.name]
    if not node.ready:
        return "node(s) were not ready"
    if node.unschedulable:
        return "node(s) were unschedulable"
    if taint := next((t for t in node.taints if t.effect in _REPELLING), None):
        return f"node(s) had untolerated taint {taint}"
    if any(node.labels.get(key) != value for key, value in need.node_selector.items()):
        return f"node(s) didn't match the {_selector_words(need)}"
    if not required_matches(need.affinity, node):
        return "node(s) didn't match the required node affinity"
    if need.cpu_milli > node.cpu_milli_free:
        return "Insufficient cpu"
    if need.memory > node.memory_free:
        return "Insufficient memory"
    return None


def merge_selectors(vm: Mapping[str, str], migration: Mapping[str, str]) -> dict[str, str]:
    """Both selectors in one. Raises Contradiction."""
    for key in sorted(vm.keys() & migration.keys()):
        if vm[key] != migration[key]:
            raise Contradiction(key, vm[key], migration[key])
    return {**vm, **migration}


def required_matches(affinity: Document, node: NodeView) -> bool:
    """Terms are alternatives; no requirement matches every node, and a requirement without terms none."""
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def overhead(memory: int, vcpus: int) -> int:
    """
    Bytes that QEMU takes beside the guest's memory: 96 MiB for the process and its devices, 8 MiB for each virtual
    CPU's thread, and a 512th of the memory for page tables.
    """
    return 96 * _MIB + vcpus * 8 * _MIB + -(-memory // 512 // _MIB) * _MIB


def nodes_view(nodes: Iterable[Document], pods: Iterable[Document]) -> list[NodeView]:
    """
    The nodes with what is reserved on each: the requests of every pod that is bound to it and not finished. A launcher
    or target pod requests the guest's memory and `overhead`, and one CPU for each virtual CPU.
    """
    memory: dict[str, int] = defaultdict(int)
    cpu_milli: dict[str, int] = defaultdict(int)
    for pod in pods:
        node_name = (pod.get("spec") or {}).get("nodeName")
        if node_name and (pod.get("status") or {}).get("phase") not in _FINISHED:
            requested = requests_of(pod)
            memory[node_name] += requested.memory
            cpu_milli[node_name] += requested.cpu_milli
    return [_view(node, memory, cpu_milli) for node in nodes]


@dataclass(frozen=True, slots=True)
class Requests:
    """What a pod reserves. Memory in bytes, CPU in thousandths."""

    memory: int
    cpu_milli: int


def requests_of(pod: Document) -> Requests:
    """The sum over its containers."""
    listed = [
        ((container.get("resources") or {}).get("requests") or {})
        for container in (pod.get("spec") or {}).get("containers") or ()
    ]
    return Requests(
        sum(quantity.whole(requests.get("memory", "0")) for requests in listed),
        sum(quantity.milli(requests.get("cpu", "0")) for requests in listed),
    )


def is_ready(node: Document) -> bool:
    """Whether the node's condition Ready is True."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _view(node: Document, memory: Mapping[str, int], cpu_milli: Mapping[str, int]) -> NodeView:
    metadata, spec = node.get("metadata") or {}, node.get("spec") or {}
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    name = str(metadata["name"])
    return NodeView(
        name=name,
        labels={HOSTNAME: name, **(metadata.get("labels") or {})},
        ready=is_ready(node) and not metadata.get("deletionTimestamp"),
        unschedulable=bool(spec.get("unschedulable")),
        taints=tuple(
            Taint(taint.get("key", ""), taint.get("value") or "", taint.get("effect", ""))
            for taint in spec.get("taints") or ()
        ),
        memory=quantity.whole(allocatable.get("memory", "0")),
        cpu_milli=quantity.milli(allocatable.get("cpu", "0")),
        memory_reserved=memory.get(name, 0),
        cpu_milli_reserved=cpu_milli.get(name, 0),
    )


def _selector_words(need: Need) -> str:
    shown = ",".join(f"{key}={value}" for key, value in sorted(need.node_selector.items()))
    return f"{'merged ' if need.source is not None else ''}node selector {shown}"


def _preference(need: Need, node: NodeView) -> int:
    preferred = need.affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return sum(
        int(choice.get("weight", 0)) for choice in preferred if _term_matches(choice.get("preference") or {}, node)
    )


def _term_matches(term: Document, node: NodeView) -> bool:
    """All of its expressions and fields; a term without any matches no node, as in Kubernetes."""
    expressions: Sequence[Document] = term.get("matchExpressions") or ()
    fields: Sequence[Document] = term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    named = {"metadata.name": node.name}
    return all(_requirement_matches(e, node.labels) for e in expressions) and all(
        _requirement_matches(f, named) for f in fields
    )


def _requirement_matches(requirement: Document, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.get("key", ""))
    wanted = [str(v) for v in requirement.get("values") or ()]
    match requirement.get("operator"):
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _compares(value, wanted, lambda a, b: a > b)
        case "Lt":
            return _compares(value, wanted, lambda a, b: a < b)
        case _:
            return False


def _compares(value: str | None, wanted: Sequence[str], holds: Callable[[int, int], bool]) -> bool:
    if value is None or len(wanted) != 1:
        return False
    try:
        return holds(int(value), int(wanted[0]))
    except ValueError:
        return False
