"""What an API says no with: the ApiError family, and FieldError for one wrong field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.machinery.go_json import quoted
from app.machinery.objects import Document


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: its path (`spec.disks[0].name`), the cause's reason, and the text after the path."""

    path: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def required(path: str, detail: str = "") -> FieldError:
    return FieldError(path, "FieldValueRequired", "Required value" + (f": {detail}" if detail else ""))


def invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError(path, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {detail}")


def unsupported(path: str, value: Any, supported: Sequence[str]) -> FieldError:
    listed = ", ".join(f'"{s}"' for s in supported)
    return FieldError(path, "FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {listed}")


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError(path, "FieldValueForbidden", f"Forbidden: {detail}")


def duplicate(path: str, value: Any, detail: str = "") -> FieldError:
    said = f"Duplicate value: {_shown(value)}" + (f": {detail}" if detail else "")
    return FieldError(path, "FieldValueDuplicate", said)


def too_long(path: str, limit: int) -> FieldError:
    return FieldError(path, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(path: str, count: int, limit: int) -> FieldError:
    return FieldError(path, "FieldValueTooMany", f"Too many: {count}: must have at most {limit} items")


class ApiError(Exception):
    """An answer other than success, in the form of metav1.Status. Sections 2 and 3 of the API conventions give the texts."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Document | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}
        self.warnings: Sequence[str] = ()
        """What is to be warned of beside it."""

    def status(self) -> Document:
        """The metav1.Status document."""
        body: Document = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


@contextmanager
def warning_of(warnings: Sequence[str]) -> Iterator[None]:
    """Who is refused is warned all the same."""
    try:
        yield
    except ApiError as error:
        error.warnings = (*warnings, *error.warnings)
        raise


def invalid_object(kind: str, group: str, name: str, errors: Iterable[FieldError]) -> ApiError:
    """422 with every wrong field, as kube-apiserver words it: one error bare, several in brackets."""
    listed = list(errors)
    told = list(dict.fromkeys(map(str, listed)))
    text = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    details = resource_details(kind, group, name)
    details["causes"] = [{"reason": e.reason, "message": e.message, "field": e.path} for e in listed]
    return ApiError(422, "Invalid", f"{_qualified(kind, group)} {quoted(name)} is invalid: {text}", details)


def resource_details(plural: str, group: str, name: str) -> Document:
    """The details of an error about a stored object: its kind is the lower-case resource there."""
    details: Document = {"name": name} if name else {}
    if group:
        details["group"] = group
    details["kind"] = plural
    return details


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def not_found(plural: str, group: str, name: str) -> ApiError:
    details = resource_details(plural, group, name)
    return ApiError(404, "NotFound", f"{_qualified(plural, group)} {quoted(name)} not found", details)


def already_exists(plural: str, group: str, name: str, *, being_deleted: bool = False) -> ApiError:
    deleted = "object is being deleted: " if being_deleted else ""
    message = f'{deleted}{_qualified(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, resource_details(plural, group, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(plural: str, group: str, name: str, why: str = MODIFIED) -> ApiError:
    """409; `plural` is the Kind where a precondition of a delete fails."""
    message = f'Operation cannot be fulfilled on {_qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, resource_details(plural, group, name))


def _qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural
