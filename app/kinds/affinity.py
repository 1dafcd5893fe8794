"""Node affinity, as VirtualMachines and pods carry it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.kinds.shape import ATOMIC, Shape
from app.machinery.errors import FieldError, forbidden, invalid, required


class Operator(StrEnum):
    """How a label is compared with the values."""

    IN = "In"
    """The label's value is one of them."""
    NOT_IN = "NotIn"
    """The label's value is none of them, or there is no such label."""
    EXISTS = "Exists"
    """There is such a label; no values."""
    DOES_NOT_EXIST = "DoesNotExist"
    """There is no such label; no values."""
    GT = "Gt"
    """The label's value is an integer greater than the one value."""
    LT = "Lt"
    """The label's value is an integer less than the one value."""


class NodeSelectorRequirement(Shape):
    """A label, an operator and values."""

    key: str
    """The label's or field's name."""
    operator: Operator
    """In, NotIn, Exists, DoesNotExist, Gt or Lt."""
    values: Annotated[list[str], ATOMIC] = Field(default_factory=list)
    """One or more for In and NotIn, none for Exists and DoesNotExist, one integer for Gt and Lt."""


class NodeSelectorTerm(Shape):
    """Requirements that must all hold. A term without any matches no node."""

    match_expressions: Annotated[list[NodeSelectorRequirement], ATOMIC] = Field(default_factory=list)
    """Requirements on the node's labels."""
    match_fields: Annotated[list[NodeSelectorRequirement], ATOMIC] = Field(default_factory=list)
    """Requirements on the node's fields; metadata.name is the only one."""


class NodeSelector(Shape):
    """Terms of which one must hold."""

    node_selector_terms: Annotated[list[NodeSelectorTerm], ATOMIC]
    """The terms are ORed."""


class PreferredSchedulingTerm(Shape):
    """A term and how much it is worth."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """Added to a node's score when it matches, 1 to 100."""
    preference: NodeSelectorTerm
    """What is preferred."""


class NodeAffinity(Shape):
    """Rules about the nodes that are wanted."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Only nodes that match are used. A guest that runs already is not moved when this changes."""
    preferred_during_scheduling_ignored_during_execution: Annotated[list[PreferredSchedulingTerm], ATOMIC] = Field(
        default_factory=list
    )
    """Among the nodes that can be used, the one with the greatest sum of weights is taken."""


class Affinity(Shape):
    """Scheduling rules."""

    node_affinity: NodeAffinity | None = None
    """Rules about the nodes that are wanted."""


def problems(path: str, affinity: Affinity | None) -> Iterator[FieldError]:
    """What the schema cannot say: how many values each operator takes."""
    node = affinity.node_affinity if affinity else None
    if node is None:
        return
    base = f"{path}.nodeAffinity"
    wanted = node.required_during_scheduling_ignored_during_execution
    if wanted is not None:
        terms = f"{base}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        if not wanted.node_selector_terms:
            yield required(terms, "must have at least one node selector term")
        for index, term in enumerate(wanted.node_selector_terms):
            yield from _of_term(f"{terms}[{index}]", term)
    for index, weighted in enumerate(node.preferred_during_scheduling_ignored_during_execution):
        preferred = f"{base}.preferredDuringSchedulingIgnoredDuringExecution[{index}].preference"
        yield from _of_term(preferred, weighted.preference)


def _of_term(path: str, term: NodeSelectorTerm) -> Iterator[FieldError]:
    for index, requirement in enumerate(term.match_expressions):
        yield from _of_requirement(f"{path}.matchExpressions[{index}]", requirement)
    for index, requirement in enumerate(term.match_fields):
        at = f"{path}.matchFields[{index}]"
        if requirement.key != "metadata.name":
            yield invalid(f"{at}.key", requirement.key, "not a valid field selector key: only metadata.name is")
        if requirement.operator not in (Operator.IN, Operator.NOT_IN):
            yield invalid(f"{at}.operator", requirement.operator, "not a valid selector operator: use In or NotIn")
        elif len(requirement.values) != 1:
            yield required(
                f"{at}.values", "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )


def _of_requirement(path: str, requirement: NodeSelectorRequirement) -> Iterator[FieldError]:
    values = requirement.values
    match requirement.operator:
        case Operator.IN | Operator.NOT_IN:
            if not values:
                yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        case Operator.EXISTS | Operator.DOES_NOT_EXIST:
            if values:
                yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        case Operator.GT | Operator.LT:
            if len(values) != 1:
                yield required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
            elif not _is_integer(values[0]):
                yield invalid(f"{path}.values[0]", values[0], "must be an integer when `operator` is 'Lt' or 'Gt'")


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()
