"""How a resource is declared, and under which group versions it is served. The machinery does the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic

from pydantic import BaseModel

from app.machinery.errors import ApiError, FieldError
from app.machinery.objects import Document, Object, ObjectMeta, SpecT, StatusT


@dataclass(frozen=True, slots=True)
class GroupVersion:
    """A group and a version; the core group is the empty string."""

    group: str
    version: str
    text: str = field(init=False, repr=False, compare=False)
    """The apiVersion of its objects."""
    path: str = field(init=False, repr=False, compare=False)
    """The URL prefix: /api/v1 or /apis/<group>/<version>."""

    def __post_init__(self) -> None:
        text = f"{self.group}/{self.version}" if self.group else self.version
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "path", f"/apis/{text}" if self.group else f"/api/{text}")

    def __str__(self) -> str:
        return self.text


CORE = GroupVersion("", "v1")
KUBEVIRT = GroupVersion("kubevirt.io", "v1alpha1")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`. `source` is a dotted path, or a function of the document for what a path cannot say."""

    name: str
    source: str | Callable[[Document], Any]
    type: str = "string"
    """string, integer, number, boolean or date; a date is shown as an age."""
    priority: int = 0
    """0 is always shown; 1 only by `-o wide`."""
    description: str = ""
    format: str = ""
    absent: str | None = None
    """Shown where there is no value."""
    aged: bool = True
    """Whether a date is shown as an age, which core kinds then call a string, or as it is."""


AGE = Column(
    "Age",
    "metadata.creationTimestamp",
    type="date",
    description="CreationTimestamp is a timestamp representing the server time when this object was created. It is not "
    "guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is "
    "represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
)


@dataclass(frozen=True, slots=True)
class Subresource:
    """A further path below an item, such as `pods/log`. Its handler is bound in wiring, by this name."""

    name: str
    verbs: tuple[str, ...]
    kind: str
    """The kind of its body or answer, e.g. Eviction; for `log` the parent's own kind, as in Kubernetes."""
    group_version: GroupVersion | None = None
    asks: Kind[Any, Any] | None = None
    """What its body is declared as, where that is a question that is answered with itself, filled in."""


def nothing_wrong(_: Document) -> Iterator[FieldError]:
    return iter(())


def any_update(_old: Document, _new: Document) -> Iterator[FieldError]:
    return iter(())


@dataclass(frozen=True, slots=True, eq=False)
class Kind(Generic[SpecT, StatusT]):
    """A resource. What is not said has Kubernetes' default, so a declaration holds only what is particular to it.

    A kind is itself and no other (it has no equality of its own), so that what is derived from it is cheaply cached.
    """

    name: str
    plural: str
    served: tuple[GroupVersion, ...]
    """The first is what is stored; under the others the same objects are served with another apiVersion and selfLink."""
    spec: type[SpecT]
    status: type[StatusT]
    withheld: tuple[GroupVersion, ...] = ()
    """Of those, the ones under which nobody reaches it: behind a cluster, what is the cluster's own."""
    body: type[BaseModel] | None = None
    """For kinds without spec and status (Event): every top-level field beside apiVersion, kind and metadata."""
    description: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    """Announced under the first served group version only."""
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = (AGE,)
    """After Name; a kind that shows its name elsewhere has a column of format `name` (Event)."""
    selectable: tuple[str, ...] = ()
    """Dotted paths that field selectors may name, beside metadata.name and metadata.namespace."""
    typed: bool = False
    """Core semantics: unconditional PUT, strategic merge patch, kind and apiVersion defaulted. Otherwise a custom resource's."""
    dns_label: bool = False
    """Names are DNS-1123 labels of at most 63 characters; otherwise subdomains of at most 253."""
    any_name: bool = False
    """Names need only be steps of a path (Event)."""
    blank: Document = field(default_factory=dict)
    """What is compiled into kube-apiserver has these fields whatever is said, as `zeroes.filled` fills them in: nobody comes
    to own them by saying less."""
    made_with_status: bool = False
    """A create's status is kept (Node), where that of others is forgotten."""
    counted: bool = True
    """metadata.generation tells how often its spec changed."""
    finalizers: tuple[str, ...] = ()
    """Put on every new object by the API, so that no object can vanish before its owner acted."""
    default: Callable[[Document], None] | None = None
    """Fills defaults that the schema cannot express, in place, before validation."""
    check_create: Callable[[Document], Iterator[FieldError]] = nothing_wrong
    check_update: Callable[[Document, Document], Iterator[FieldError]] = any_update
    """(old, new): also called when only metadata or status changes."""
    check_delete: Callable[[Document], ApiError | None] | None = None
    """Judged in the deleting transaction; an ApiError refuses. For pods whose guest runs (403)."""
    shown_deleted: bool = False
    """A delete that takes effect at once is answered with the object itself, not with a Status (Pod)."""
    previewed: bool = False
    """A dry run's create answers what would become of the object: its `preview`, bound in wiring by the kind's name, fills
    the status from what is stored."""
    made_by_update: bool = False
    """A PUT of what is not there creates it (Event, and the kinds of RBAC)."""
    contains: bool = False
    """Other objects live in it (Namespace): it terminates with its content, and goes when `spec.finalizers` is empty."""
    subresources: tuple[Subresource, ...] = ()
    has_status: bool = True

    @property
    def group_version(self) -> GroupVersion:
        return self.served[0]

    @property
    def offered(self) -> tuple[GroupVersion, ...]:
        """Under which group versions clients reach it."""
        return tuple(version for version in self.served if version not in self.withheld)

    @property
    def resource(self) -> str:
        """`migrations.kubevirt.io`, or `pods` for the core group: the store's and the error messages' word for it."""
        group = self.group_version.group
        return f"{self.plural}.{group}" if group else self.plural

    @property
    def package(self) -> str:
        """Where kube-apiserver's own type is, of a kind that it has."""
        return self.group_version.group.partition(".")[0] or "core"

    @property
    def has_generation(self) -> bool:
        """Does metadata.generation tell how often its spec changed?"""
        return self.counted and self.body is None

    @property
    def singular(self) -> str:
        return self.name.lower()

    @property
    def list_name(self) -> str:
        return f"{self.name}List"

    def read(self, document: Document) -> Object[SpecT, StatusT]:
        """The typed view of a stored document."""
        return Object(
            ObjectMeta.model_validate(document.get("metadata") or {}),
            self.spec.model_validate(document.get("spec") or {}),
            self.status.model_validate(document.get("status") or {}),
        )
