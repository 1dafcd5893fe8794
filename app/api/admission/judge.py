"""Judging a write by the policies: what is refused, and in whose name; what is only warned of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import structlog

from app.api.admission.expressions import Expression, ExpressionError
from app.api.admission.policies import Bound, Check, Rules, Subject, metadata_of
from app.api.requests import Request
from app.api.routes import Target
from app.machinery.errors import ApiError, resource_details
from app.machinery.go_json import quoted
from app.machinery.lifecycle import served_as
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Reader

log = structlog.get_logger()

CODES = {"Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413}
LONGEST_MESSAGE = 5_120
LARGEST = 128 * 1024
"""Bytes of an object that expressions are evaluated on: loops have a budget of turns, and each may copy a text of the object."""


class Admission:
    """The policies of one file. Their expressions see the object as the request's group version has it."""

    def __init__(self, bound: Sequence[Bound] = ()) -> None:
        self.replace(bound)

    def replace(self, bound: Sequence[Bound]) -> None:
        """These count from now on."""
        self._bound = tuple(bound)
        self._with_namespaces = any(one.asks_for_namespaces for one in self._bound)

    async def judge(
        self,
        target: Target,
        request: Request,
        reader: Reader,
        old: Document | None,
        new: Document | None,
        *,
        dry_run: bool = False,
    ) -> list[str]:
        """What to warn of. `new` is None for a delete, `old` for a create; of a subresource that is no part of the object,
        `new` is what was sent. Raises ApiError for what a policy denies."""
        if not self._bound:
            return []
        creates = old is None and request.method != "PUT"
        operation = "DELETE" if new is None else "CREATE" if creates else "UPDATE"
        name = target.name or str(metadata_of(new or old).get("name", ""))
        shown = [_served(target, document) for document in (new, old)]
        subject = Subject(target, operation, name, shown[0], shown[1], await self._namespace(target, reader))
        values = {
            "object": subject.object,
            "oldObject": subject.old,
            "namespaceObject": subject.namespace,
            "request": _told(subject, request, dry_run=dry_run),
        }
        warnings: list[str] = []
        about = [bound for bound in self._bound if bound.is_about(subject)]
        size = _size(subject) if about else 0
        for bound in about:
            for message, reason in _broken(bound.rules, values) if size <= LARGEST else _too_large(bound.rules, size):
                policy = f"ValidatingAdmissionPolicy '{bound.rules.name}' with binding '{bound.binding}'"
                if bound.denies:
                    raise _denied(target, name, f"{policy} denied request: {message}", reason)
                if bound.warns:
                    warnings.append(f"Validation failed for {policy}: {message}")
        return warnings

    async def _namespace(self, target: Target, reader: Reader) -> Document | None:
        if not self._with_namespaces or not target.kind.namespaced:
            return None
        try:
            return (await reader.get(Key("namespaces", "", target.namespace or ""))).document
        except NotFound:
            return None


def _served(target: Target, document: Document | None) -> Document | None:
    """What is below an object has a form of its own."""
    if document is None or target.subresource not in ("", "status"):
        return document
    return served_as(target.kind, target.served.group_version, document)


def _size(subject: Subject) -> int:
    return max(len(orjson.dumps(document)) for document in (subject.object, subject.old) if document is not None)


def _too_large(rules: Rules, size: int) -> list[tuple[str, str]]:
    """What is to be said of an object on which nothing is evaluated."""
    if rules.lenient:
        return []
    return [(f"the object has {size} bytes, and policies are evaluated on {LARGEST} at most", "Invalid")]


def _broken(rules: Rules, given: dict[str, Any]) -> list[tuple[str, str]]:
    """Message and reason of each check that does not hold."""
    values = dict(given)
    try:
        if not all(_holds(condition, values) for _, condition in rules.conditions):
            return []
    except ExpressionError as error:
        return [] if rules.lenient else [(str(error), "Invalid")]
    values["variables"] = _variables(rules, values)
    broken: list[tuple[str, str]] = []
    for check in rules.checks:
        try:
            if not _holds(check.expression, values):
                broken.append((_message(check, values), check.reason))
        except ExpressionError as error:
            log.info("a policy cannot be evaluated", policy=rules.name, error=str(error))
            if not rules.lenient:
                broken.append((str(error), "Invalid"))
    return broken


def _variables(rules: Rules, values: dict[str, Any]) -> dict[str, Any]:
    """Each may speak of those before it. One that cannot be evaluated is missing: what speaks of it cannot be either."""
    found: dict[str, Any] = {}
    for name, expression in rules.variables:
        try:
            found[name] = expression.evaluated({**values, "variables": found})
        except ExpressionError as error:
            log.info("a policy's variable cannot be evaluated", policy=rules.name, variable=name, error=str(error))
    return found


def _holds(expression: Expression, values: dict[str, Any]) -> bool:
    try:
        return expression.evaluated(values) is True
    except ExpressionError as error:
        raise ExpressionError(f"expression '{expression.text}' resulted in error: {error}") from error


def _message(check: Check, values: dict[str, Any]) -> str:
    """What the expression for it says, if that is one line; else the text; else the expression that does not hold."""
    if check.message_expression is not None:
        try:
            said = check.message_expression.evaluated(values)
        except ExpressionError as error:
            log.info("a policy's message cannot be evaluated", error=str(error))
            said = None
        if isinstance(said, str) and 0 < len(said.strip()) <= LONGEST_MESSAGE and "\n" not in said.strip():
            return said.strip()
    return check.message or f"failed expression: {check.expression.text}"


def _told(subject: Subject, request: Request, *, dry_run: bool) -> Document:
    """`request`, as an AdmissionReview has it."""
    target, user = subject.target, request.user.info()
    version = target.served.group_version
    group_version = {"group": version.group, "version": version.version}
    told: Document = {
        "uid": request.audit_id.decode("latin-1"),
        "kind": {**group_version, "kind": target.kind.name},
        "resource": {**group_version, "resource": target.kind.plural},
        "subResource": target.subresource,
        "name": subject.name,
        "namespace": target.namespace or "",
        "operation": subject.operation,
        "userInfo": {"username": "", "uid": "", "groups": [], "extra": {}, **user},
        "dryRun": dry_run,
    }
    return {**told, "requestKind": told["kind"], "requestResource": told["resource"]}


def _denied(target: Target, name: str, why: str, reason: str) -> ApiError:
    kind = target.kind
    named = f"{kind.resource} {quoted(name)}" if name else kind.resource
    details = resource_details(kind.plural, kind.group_version.group, name) | {"causes": [{"message": why}]}
    return ApiError(CODES[reason], reason, f"{named} is forbidden: {why}", {k: v for k, v in details.items() if v})
