"""What is wrong with a question about rights: kube-apiserver's checks, in its order and words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from app.machinery.errors import ApiError, FieldError, forbidden, invalid, required
from app.machinery.names import label_value, qualified_name
from app.machinery.objects import Document
from app.machinery.reviews import LOCAL_SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_ACCESS_REVIEW, Review
from app.machinery.selectors import parse_labels

RESOURCE, OTHER = "spec.resourceAttributes", "spec.nonResourceAttributes"
_EMPTY = "must be empty"


def problems(review: Review, metadata: Document, spec: Document, namespace: str = "") -> Iterator[FieldError]:
    """`namespace` is that of the path. Operators of requirements that nobody knows are left to who judges."""
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        yield invalid(OTHER, _shown(other), "cannot be specified in combination with resourceAttributes")
    if resource is None and other is None:
        one = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield invalid(RESOURCE, None, one)
    if review is not SELF_SUBJECT_ACCESS_REVIEW and not spec.get("user") and not spec.get("groups"):
        yield invalid("spec.user", "", "at least one of user or group must be specified")
    if resource is not None:
        yield from _selectors(resource)
    local = review is LOCAL_SUBJECT_ACCESS_REVIEW
    said = {
        name: value
        for name, value in metadata.items()
        if name != "managedFields" and not (local and name == "namespace")
    }
    if said:
        yield invalid("metadata", metadata, f"{_EMPTY} except for namespace" if local else _EMPTY)
    if local and resource is not None and resource.get("namespace", "") != namespace:
        yield invalid(f"{RESOURCE}.namespace", resource.get("namespace", ""), "must match metadata.namespace")
    if local and other is not None:
        yield invalid(OTHER, _shown(other), "disallowed on this kind of request")


def unreadable(spec: Document) -> list[str]:
    """Which label selector was not looked at, since it cannot be read. Roles look at none, so nothing follows from it."""
    selector = (spec.get("resourceAttributes") or {}).get("labelSelector") or {}
    try:
        parse_labels(selector.get("rawSelector") or "")
    except ApiError:
        return [f"{RESOURCE}.labelSelector ignored due to parse error"]
    return []


def _shown(other: Document) -> Document:
    """As Go's fields are called."""
    return {"Path": other.get("path", ""), "Verb": other.get("verb", "")}


def _selectors(resource: Document) -> Iterator[FieldError]:
    for name in ("fieldSelector", "labelSelector"):
        selector, path = resource.get(name), f"{RESOURCE}.{name}"
        if selector is None:
            continue
        raw, requirements = selector.get("rawSelector"), selector.get("requirements")
        if raw and requirements:
            yield invalid(f"{path}.rawSelector", raw, "may not specified at the same time as requirements")
        if not raw and not requirements:
            yield required(f"{path}.requirements", f"when {path} is specified, requirements or rawSelector is required")
        for number, requirement in enumerate(requirements or ()):
            at = f"{path}.requirements[{number}]"
            yield from _field(requirement, at) if name == "fieldSelector" else _label(requirement, at)


def _field(requirement: Document, path: str) -> Iterator[FieldError]:
    if not requirement.get("key"):
        yield required(f"{path}.key", "must be specified")
    yield from _values(requirement, path)


def _label(requirement: Document, path: str) -> Iterator[FieldError]:
    yield from _values(requirement, path)
    key = requirement.get("key", "")
    yield from (invalid(f"{path}.key", key, problem) for problem in qualified_name(key))
    for number, value in enumerate(requirement.get("values") or ()):
        yield from (invalid(f"{path}.values[{number}]", value, problem) for problem in label_value(value))


def _values(requirement: Document, path: str) -> Iterator[FieldError]:
    values, operator = requirement.get("values"), requirement.get("operator")
    if operator in ("In", "NotIn") and not values:
        yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    if operator in ("Exists", "DoesNotExist") and values:
        yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
