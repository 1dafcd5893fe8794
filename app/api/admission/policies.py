"""Policies and bindings out of a file, their expressions compiled; and which requests they are about. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from app.api.admission.expressions import Expression, ExpressionError
from app.api.admission.shapes import API_VERSION, Binding, MatchResources, Policy, ResourceRule, Selector
from app.api.files import FileError
from app.api.routes import Target
from app.machinery.kind import GroupVersion
from app.machinery.objects import Document
from app.machinery.selectors import matches_label_selector

KINDS: Mapping[str, type[Policy | Binding]] = {
    "ValidatingAdmissionPolicy": Policy,
    "ValidatingAdmissionPolicyBinding": Binding,
}


class PolicyError(FileError):
    """The file's rules cannot be used; the text is one line that says where and why."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A write, as it is matched."""

    target: Target
    operation: str
    """CREATE, UPDATE or DELETE."""
    name: str
    object: Document | None
    old: Document | None
    namespace: Document | None
    """The Namespace that it is in; None for what is in none, and where no policy asks for it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One validation."""

    expression: Expression
    message: str
    message_expression: Expression | None
    reason: str


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy."""

    name: str
    lenient: bool
    """An expression that cannot be evaluated counts as kept."""
    match: MatchResources
    conditions: tuple[tuple[str, Expression], ...]
    variables: tuple[tuple[str, Expression], ...]
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, policy: Policy) -> Rules:
        """Raises PolicyError."""
        name, spec = policy.metadata.name, policy.spec

        def compiled(text: str, where: str, answers: type | None = bool) -> Expression:
            try:
                return Expression(text, answers)
            except ExpressionError as error:
                raise PolicyError(f"{policy.kind} '{name}': {where}: {error}") from error

        checks = [
            Check(
                compiled(check.expression, f"spec.validations[{number}].expression"),
                check.message.strip(),
                None
                if check.message_expression is None
                else compiled(check.message_expression, f"spec.validations[{number}].messageExpression", str),
                check.reason,
            )
            for number, check in enumerate(spec.validations)
        ]
        conditions = [
            (one.name, compiled(one.expression, f"spec.matchConditions[{number}].expression"))
            for number, one in enumerate(spec.match_conditions)
        ]
        variables = [
            (one.name, compiled(one.expression, f"spec.variables[{number}].expression", None))
            for number, one in enumerate(spec.variables)
        ]
        lenient = spec.failure_policy == "Ignore"
        return cls(name, lenient, spec.match_constraints, tuple(conditions), tuple(variables), tuple(checks))

    @property
    def expressions(self) -> tuple[Expression, ...]:
        told = [one.message_expression for one in self.checks if one.message_expression is not None]
        named = [expression for _, expression in (*self.conditions, *self.variables)]
        return (*named, *(one.expression for one in self.checks), *told)


@dataclass(frozen=True, slots=True)
class Bound:
    """A policy where a binding puts it to use."""

    rules: Rules
    binding: str
    denies: bool
    warns: bool
    match: MatchResources | None

    @property
    def asks_for_namespaces(self) -> bool:
        selects = [self.rules.match, *([self.match] if self.match else [])]
        return any(one.namespace_selector != Selector() for one in selects) or any(
            expression.speaks_of("namespaceObject") for expression in self.rules.expressions
        )

    def is_about(self, subject: Subject) -> bool:
        return _is_meant(self.rules.match, subject) and (self.match is None or _is_meant(self.match, subject))


def bound_policies(text: str) -> tuple[Bound, ...]:
    """Every binding of the file with its policy, in its order. Raises PolicyError."""
    policies: dict[str, Rules] = {}
    bindings: dict[str, Binding] = {}
    for number, document in enumerate(_documents(text), 1):
        read = _read(document, number)
        known: Mapping[str, object] = policies if isinstance(read, Policy) else bindings
        if read.metadata.name in known:
            raise PolicyError(f"{read.kind} '{read.metadata.name}': there are two of this name")
        if isinstance(read, Policy):
            policies[read.metadata.name] = Rules.of(read)
        else:
            bindings[read.metadata.name] = read
    for name, binding in bindings.items():
        if binding.spec.policy_name not in policies:
            raise PolicyError(f"{binding.kind} '{name}': there is no policy '{binding.spec.policy_name}' in the file")
    if unbound := policies.keys() - {binding.spec.policy_name for binding in bindings.values()}:
        raise PolicyError(f"ValidatingAdmissionPolicy '{min(unbound)}': no binding puts it to use")
    return tuple(
        Bound(
            policies[binding.spec.policy_name],
            name,
            "Deny" in binding.spec.validation_actions,
            "Warn" in binding.spec.validation_actions,
            binding.spec.match_resources,
        )
        for name, binding in bindings.items()
    )


def _documents(text: str) -> list[Any]:
    try:
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise PolicyError(f"no YAML: {' '.join(str(error).split())}") from error


def _read(document: Any, number: int) -> Policy | Binding:
    kind = document.get("kind") if isinstance(document, dict) else None
    shape = KINDS.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise PolicyError(f"document {number} is no {' and no '.join(KINDS)} of {API_VERSION}")
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        raise PolicyError(f"{kind} '{name}': {where}: {first['msg']}") from error


def _is_meant(match: MatchResources, subject: Subject) -> bool:
    return (
        any(_fits(rule, subject) for rule in match.resource_rules or _EVERYTHING)
        and not any(_fits(rule, subject) for rule in match.exclude_resource_rules)
        and _selects_namespace(match.namespace_selector, subject)
        and _selects_object(match.object_selector, subject)
    )


_EVERYTHING = (ResourceRule(api_groups=["*"], api_versions=["*"], operations=["*"], resources=["*/*"]),)
"""A binding that names no resources means those of its policy."""


def _fits(rule: ResourceRule, subject: Subject) -> bool:
    target = subject.target
    scope = "Namespaced" if target.kind.namespaced else "Cluster"
    return (
        ("*" in rule.operations or subject.operation in rule.operations)
        and any(_is_in(rule, version) for version in target.kind.served)
        and any(_means(resource, target) for resource in rule.resources)
        and rule.scope in ("*", scope)
        and (not rule.resource_names or subject.name in rule.resource_names)
    )


def _is_in(rule: ResourceRule, version: GroupVersion) -> bool:
    return any(name in rule.api_groups for name in ("*", version.group)) and any(
        name in rule.api_versions for name in ("*", version.version)
    )


def _means(resource: str, target: Target) -> bool:
    plural, _, below = resource.partition("/")
    return plural in ("*", target.kind.plural) and below in ("*", target.subresource)


def _selects_namespace(selector: Selector, subject: Subject) -> bool:
    """Of a Namespace its own labels; what is in none is always meant."""
    found = (subject.object or subject.old) if subject.target.kind.contains else subject.namespace
    return selector == Selector() or found is None or _matches(selector, found)


def _selects_object(selector: Selector, subject: Subject) -> bool:
    """As it was or as it is to be."""
    return selector == Selector() or any(
        _matches(selector, document) for document in (subject.object, subject.old) if document is not None
    )


def _matches(selector: Selector, document: Document) -> bool:
    labels = metadata_of(document).get("labels")
    return matches_label_selector(labels if isinstance(labels, dict) else {}, selector.model_dump(by_alias=True))


def metadata_of(document: Document | None) -> Document:
    """Of what was sent to a subresource nobody has looked at the types yet."""
    metadata = (document or {}).get("metadata")
    return metadata if isinstance(metadata, dict) else {}
