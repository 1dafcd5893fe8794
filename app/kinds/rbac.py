"""Role, ClusterRole and their bindings: who may do what, as Kubernetes' RBAC has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from app.kinds.affinity import Operator
from app.kinds.shape import ATOMIC, MAP_ATOMIC, LabelMap, Nothing, Shape
from app.machinery.errors import FieldError, forbidden, invalid, required, unsupported
from app.machinery.kind import AGE, Column, GroupVersion, Kind
from app.machinery.metadata import label_errors
from app.machinery.names import dns_subdomain, label_value, path_segment, qualified_name
from app.machinery.objects import Document

RBAC = GroupVersion("rbac.authorization.k8s.io", "v1")


class PolicyRule(Shape):
    """What may be done to what; it says neither by whom nor where."""

    verbs: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """What may be done: get, list, watch, create, update, patch, delete, deletecollection, …, or * for everything."""
    api_groups: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """The groups of the resources; "" is the core group, * all of them."""
    resources: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """Plurals, `pods/log` for a subresource, `*/scale` for one of all resources, * for all."""
    resource_names: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """Only objects of these names. Empty: all of them."""
    non_resource_urls: Annotated[list[str], ATOMIC] = Field(default_factory=list, alias="nonResourceURLs")
    """Paths that are no resources, perhaps with a * as the whole last step. Only in ClusterRoles, and by themselves."""


class LabelRequirement(Shape):
    """A label, an operator and values."""

    key: str
    """The label."""
    operator: Operator
    """In, NotIn, Exists or DoesNotExist."""
    values: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """One or more for In and NotIn, none for the others."""


class RoleSelector(Shape):
    """Labels that a ClusterRole must carry."""

    match_labels: Annotated[LabelMap, MAP_ATOMIC] = Field(default_factory=dict)
    """All of these."""
    match_expressions: Annotated[list[LabelRequirement], ATOMIC] = Field(default_factory=list)
    """And all of these requirements."""


class AggregationRule(Shape):
    """Where a ClusterRole's rules come from."""

    cluster_role_selectors: Annotated[list[RoleSelector], ATOMIC] = Field(default_factory=list)
    """The rules of every ClusterRole that one of these selects are put together."""


class RoleBody(Shape):
    """What may be done."""

    rules: Annotated[list[PolicyRule], ATOMIC] = Field(default_factory=list)
    """All the rules of this Role; what none allows is not allowed."""


class ClusterRoleBody(Shape):
    """What may be done."""

    rules: Annotated[list[PolicyRule], ATOMIC] = Field(default_factory=list)
    """All the rules of this ClusterRole; what none allows is not allowed."""
    aggregation_rule: AggregationRule | None = None
    """If it is set, the rules are made from other ClusterRoles', and direct changes to them are lost."""


class Subject(Shape):
    """Who is meant."""

    kind: str
    """User, Group or ServiceAccount."""
    api_group: str | None = None
    """rbac.authorization.k8s.io for User and Group, "" for ServiceAccount."""
    name: str
    """The name of the user, the group or the service account."""
    namespace: str | None = None
    """The service account's namespace; users and groups have none."""


class RoleRef(Shape):
    """Which role is meant."""

    api_group: str = ""
    """rbac.authorization.k8s.io."""
    kind: str
    """Role or ClusterRole."""
    name: str
    """The role's name."""


class BindingBody(Shape):
    """Who may do what a role says."""

    subjects: Annotated[list[Subject], ATOMIC] = Field(default_factory=list)
    """Who."""
    role_ref: Annotated[RoleRef, MAP_ATOMIC]
    """What. Cannot be changed: delete the binding and create another."""


def _check_role(document: Document) -> Iterator[FieldError]:
    yield from _rule_problems(document, namespaced=True)


def _check_cluster_role(document: Document) -> Iterator[FieldError]:
    yield from _rule_problems(document, namespaced=False)
    aggregation = document.get("aggregationRule")
    if aggregation is not None and not aggregation.get("clusterRoleSelectors"):
        what = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        yield required("aggregationRule.clusterRoleSelectors", what)
    for index, selector in enumerate((aggregation or {}).get("clusterRoleSelectors") or ()):
        path = f"aggregationRule.clusterRoleSelectors[{index}]"
        problems = list(_selector_problems(selector, path))
        yield from problems
        if problems:
            yield invalid(path, None, "invalid label selector.")


def _selector_problems(selector: Document, path: str) -> Iterator[FieldError]:
    yield from label_errors(selector.get("matchLabels") or {}, f"{path}.matchLabels")
    for index, requirement in enumerate(selector.get("matchExpressions") or ()):
        yield from _requirement_problems(requirement, f"{path}.matchExpressions[{index}]")


def _requirement_problems(requirement: Document, path: str) -> Iterator[FieldError]:
    """Of one whose operator is one of the schema's: of labels those that compare numbers are none."""
    operator, values = requirement.get("operator"), requirement.get("values") or ()
    if operator in (Operator.IN, Operator.NOT_IN) and not values:
        yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    if operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST) and values:
        yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    if operator in (Operator.GT, Operator.LT):
        yield invalid(f"{path}.operator", operator, "not a valid selector operator")
    for problem in qualified_name(requirement.get("key", "")) if "key" in requirement else ():
        yield invalid(f"{path}.key", requirement["key"], problem)
    for index, value in enumerate(values):
        for problem in label_value(value):
            yield invalid(f"{path}.values[{index}]", value, problem)


def _rule_problems(document: Document, *, namespaced: bool) -> Iterator[FieldError]:
    for index, rule in enumerate(document.get("rules") or ()):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            yield required(f"{path}.verbs", "verbs must contain at least one value")
        urls, resources = rule.get("nonResourceURLs"), rule.get("resources")
        if urls:
            if namespaced:
                yield invalid(f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
            if rule.get("apiGroups") or resources or rule.get("resourceNames"):
                both = "rules cannot apply to both regular resources and non-resource URLs"
                yield invalid(f"{path}.nonResourceURLs", urls, both)
            continue
        if not rule.get("apiGroups"):
            yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not resources:
            yield required(f"{path}.resources", "resource rules must supply at least one resource")


def _check_binding(document: Document, *, kinds: Sequence[str]) -> Iterator[FieldError]:
    reference = document["roleRef"]
    if reference.get("apiGroup") != RBAC.group:
        yield unsupported("roleRef.apiGroup", reference.get("apiGroup") or "", [RBAC.group])
    if reference["kind"] not in kinds:
        yield unsupported("roleRef.kind", reference["kind"], kinds)
    if not reference["name"]:
        yield required("roleRef.name")
    yield from (invalid("roleRef.name", reference["name"], why) for why in path_segment(reference["name"]))
    for index, subject in enumerate(document.get("subjects") or ()):
        yield from _subject_problems(f"subjects[{index}]", subject, namespaced="Role" in kinds)


def _subject_problems(path: str, subject: Document, *, namespaced: bool) -> Iterator[FieldError]:
    if not subject["name"]:
        yield required(f"{path}.name")
    match subject["kind"]:
        case "ServiceAccount":
            yield from (invalid(f"{path}.name", subject["name"], why) for why in dns_subdomain(subject["name"]))
            if subject.get("apiGroup"):
                yield unsupported(f"{path}.apiGroup", subject["apiGroup"], [""])
            if not namespaced and not subject.get("namespace"):
                yield required(f"{path}.namespace")
        case "User" | "Group":
            if subject.get("apiGroup") != RBAC.group:
                yield unsupported(f"{path}.apiGroup", subject.get("apiGroup") or "", [RBAC.group])
        case other:
            yield unsupported(f"{path}.kind", other, ["ServiceAccount", "User", "Group"])


def _check_role_binding(document: Document) -> Iterator[FieldError]:
    yield from _check_binding(document, kinds=("Role", "ClusterRole"))


def _check_cluster_role_binding(document: Document) -> Iterator[FieldError]:
    yield from _check_binding(document, kinds=("ClusterRole",))


def _check_rebinding(old: Document, new: Document, problems: Iterator[FieldError]) -> Iterator[FieldError]:
    yield from problems
    if old["roleRef"] != new["roleRef"]:
        said = {name[:1].upper() + name[1:]: new["roleRef"].get(name, "") for name in ("apiGroup", "kind", "name")}
        yield invalid(
            "roleRef", {name.replace("Api", "API"): value for name, value in said.items()}, "cannot change roleRef"
        )


def _default_binding(document: Document) -> None:
    """What is not said is an empty text, for validation to name."""
    reference = document.setdefault("roleRef", {})
    if not reference.get("apiGroup"):
        reference["apiGroup"] = RBAC.group
    for said in (reference, *(document.get("subjects") or ())):
        said.setdefault("kind", "")
        said.setdefault("name", "")
    for subject in document.get("subjects") or ():
        if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = RBAC.group


CREATED_AT = Column(
    "Created At", "metadata.creationTimestamp", type="date", aged=False, description="When the object was created."
)


def _role(document: Document) -> str:
    reference = document.get("roleRef", {})  # a bookmark has none
    return f"{reference.get('kind', '')}/{reference.get('name', '')}"


def _bound(kind: str, title: str, description: str) -> Column:
    def shown(document: Document) -> str:
        return ", ".join(
            f"{subject['namespace']}/{subject['name']}" if subject.get("namespace") else subject["name"]
            for subject in document.get("subjects") or ()
            if subject.get("kind") == kind
        )

    return Column(title, shown, priority=1, description=description)


BINDING_COLUMNS = (
    Column("Role", _role, description="The role that is bound."),
    AGE,
    _bound("User", "Users", "Users that may do what the role says."),
    _bound("Group", "Groups", "Groups that may do what the role says."),
    _bound("ServiceAccount", "ServiceAccounts", "Service accounts that may do what the role says."),
)

ROLE: Kind[Nothing, Nothing] = Kind(
    name="Role",
    plural="roles",
    served=(RBAC,),
    spec=Nothing,
    status=Nothing,
    body=RoleBody,
    description="Role is a set of rules for one namespace, for RoleBindings to refer to.",
    typed=True,
    made_by_update=True,
    any_name=True,
    blank={"rules": None},
    columns=(CREATED_AT,),
    check_create=_check_role,
    check_update=lambda _old, new: _check_role(new),
    has_status=False,
)

CLUSTER_ROLE: Kind[Nothing, Nothing] = Kind(
    name="ClusterRole",
    plural="clusterroles",
    served=(RBAC,),
    spec=Nothing,
    status=Nothing,
    body=ClusterRoleBody,
    description="ClusterRole is a set of rules for RoleBindings, in their namespace, and ClusterRoleBindings to refer to.",
    namespaced=False,
    typed=True,
    made_by_update=True,
    any_name=True,
    blank={"rules": None},
    columns=(CREATED_AT,),
    check_create=_check_cluster_role,
    check_update=lambda _old, new: _check_cluster_role(new),
    has_status=False,
)

ROLE_BINDING: Kind[Nothing, Nothing] = Kind(
    name="RoleBinding",
    plural="rolebindings",
    served=(RBAC,),
    spec=Nothing,
    status=Nothing,
    body=BindingBody,
    description="RoleBinding says who may do what a role says, in the binding's namespace.",
    typed=True,
    made_by_update=True,
    any_name=True,
    blank={"roleRef": {"apiGroup": "", "kind": "", "name": ""}},
    columns=BINDING_COLUMNS,
    default=_default_binding,
    check_create=_check_role_binding,
    check_update=lambda old, new: _check_rebinding(old, new, _check_role_binding(new)),
    has_status=False,
)

CLUSTER_ROLE_BINDING: Kind[Nothing, Nothing] = Kind(
    name="ClusterRoleBinding",
    plural="clusterrolebindings",
    served=(RBAC,),
    spec=Nothing,
    status=Nothing,
    body=BindingBody,
    description="ClusterRoleBinding says who may do what a ClusterRole says, in every namespace and at the cluster scope.",
    namespaced=False,
    typed=True,
    made_by_update=True,
    any_name=True,
    blank={"roleRef": {"apiGroup": "", "kind": "", "name": ""}},
    columns=BINDING_COLUMNS,
    default=_default_binding,
    check_create=_check_cluster_role_binding,
    check_update=lambda old, new: _check_rebinding(old, new, _check_cluster_role_binding(new)),
    has_status=False,
)

RBAC_KINDS: tuple[Kind[Any, Any], ...] = (ROLE, CLUSTER_ROLE, ROLE_BINDING, CLUSTER_ROLE_BINDING)
