"""What goes wrong becomes a metav1.Status here: kube-apiserver's words, and the one catch-all of this side."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

from app.machinery import errors as words
from app.machinery.errors import ApiError, FieldError, invalid_object, resource_details
from app.machinery.go_json import quoted
from app.machinery.kind import Kind
from app.machinery.objects import Document
from app.store.base import Conflict, Gone, LeaseLost, NotFound, StoreError, TooNew, Unavailable

log = structlog.get_logger()

AnyKind = Kind[Any, Any]

TOO_OLD = "The resourceVersion for the provided list is too old."
CONTINUE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class ContinueExpired(ApiError):
    """410 for a continue token whose snapshot is compacted, with a token that goes on from the newest state."""

    def __init__(self, token: str) -> None:
        super().__init__(410, "Expired", CONTINUE_TOO_OLD)
        self.token = token

    def status(self) -> Document:
        return super().status() | {"metadata": {"continue": self.token}}


def not_found(kind: AnyKind, name: str) -> ApiError:
    return words.not_found(kind.plural, kind.group_version.group, name)


def no_namespace(name: str) -> ApiError:
    return words.not_found("namespaces", "", name)


class NoSuchPath(ApiError):
    """404 where nothing is served at all: kube-apiserver says so in plain text."""

    def __init__(self) -> None:
        super().__init__(404, "NotFound", "404 page not found")


class Unjudged(ApiError):
    """500 where nobody could say whether the caller may: kube-apiserver says so in plain text."""

    def __init__(self, path: str, why: str) -> None:
        text = f"Internal Server Error: {quoted(path)}: {why}"
        super().__init__(500, "InternalError", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


class TooMany(ApiError):
    """429 for who asks for more than there is: kube-apiserver says so in plain text."""

    def __init__(self) -> None:
        text = "Too many requests, please try again later."
        super().__init__(429, "TooManyRequests", text, {"retryAfterSeconds": 1}, {"Retry-After": "1"})


def too_many() -> ApiError:
    return TooMany()


def no_such_resource() -> ApiError:
    """404 below the path of a group version that is compiled into kube-apiserver."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(kind: AnyKind, name: str, *, being_deleted: bool = False) -> ApiError:
    return words.already_exists(kind.plural, kind.group_version.group, name, being_deleted=being_deleted)


def no_unique_name(kind: AnyKind, name: str) -> ApiError:
    """409 when every generated name is taken already."""
    taken = already_exists(kind, name)
    message = f"{taken.message}, the server was not able to generate a unique name for the object"
    return ApiError(
        409, "AlreadyExists", message, {**(taken.details or {}), "retryAfterSeconds": 1}, {"Retry-After": "1"}
    )


def conflict(kind: AnyKind, name: str) -> ApiError:
    return words.conflict(kind.plural, kind.group_version.group, name)


def terminating(kind: AnyKind, name: str, namespace: str) -> ApiError:
    """403 for a create in a namespace that is being deleted."""
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    details = resource_details(kind.plural, kind.group_version.group, name) | {"causes": [cause]}
    return ApiError(403, "Forbidden", f'{kind.resource} "{name}" is forbidden: {why}', details)


def method_not_supported(kind: AnyKind, verb: str) -> ApiError:
    """405 of a custom resource."""
    details: Document = {"group": kind.group_version.group, "kind": kind.plural}
    message = f'{verb} is not supported on resources of kind "{kind.resource}"'
    return ApiError(405, "MethodNotAllowed", message, details)


def method_not_allowed() -> ApiError:
    """405 of what is compiled into kube-apiserver."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def not_acceptable(accepted: Iterable[str]) -> ApiError:
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(accepted)}")


def not_routable(produced: Iterable[str]) -> ApiError:
    """406 of what is compiled into kube-apiserver: its router says it."""
    said = f"406: Not Acceptable\n\nAvailable representations: {', '.join(produced)}"
    return ApiError(406, "NotAcceptable", said, {})


def unsupported_media(accepted: Iterable[str]) -> ApiError:
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", message)


def unsupported_patch() -> ApiError:
    """415 of what is compiled into kube-apiserver: its router says it."""
    return ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})


def too_large(detail: str) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: {detail}")


def expired(message: str = TOO_OLD) -> ApiError:
    return ApiError(410, "Expired", message)


def too_new(wanted: int, current: int) -> ApiError:
    details: Document = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return ApiError(504, "Timeout", message, details, {"Retry-After": "1"})


class TimedOut(ApiError):
    """504 of a request that took too long."""

    def __init__(self) -> None:
        super().__init__(504, "Timeout", "Timeout: request did not complete within the allotted timeout", {})

    def status(self) -> Document:
        """kube-apiserver says this one without its kind, and as plain text."""
        return {name: value for name, value in super().status().items() if name not in ("kind", "apiVersion")}


def invalid_options(kind: str, errors: Iterable[FieldError]) -> ApiError:
    """422 for a query parameter or a field of an options body; such an error names no object."""
    error = invalid_object(kind, "meta.k8s.io", "", errors)
    return ApiError(422, error.reason, error.message, {k: v for k, v in (error.details or {}).items() if k != "name"})


def unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message, {"retryAfterSeconds": 1}, {"Retry-After": "1"})


def internal(message: str) -> ApiError:
    return ApiError(500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]})


def of_store(error: StoreError) -> ApiError:
    """The Status of a store's refusal that no handler knew better how to word."""
    match error:
        case Unavailable():
            return unavailable(f"the database cannot be reached: {error}")
        case Gone():
            return expired()
        case TooNew():
            return ApiError(504, "Timeout", f"Timeout: {error}", {"retryAfterSeconds": 1}, {"Retry-After": "1"})
        case NotFound():
            return ApiError(404, "NotFound", str(error) or "not found")
        case Conflict() | LeaseLost():
            return ApiError(409, "Conflict", f"Operation cannot be fulfilled: {words.MODIFIED}")
        case _:
            return internal(str(error))


async def answering(work: Callable[[], Awaitable[None]], refuse: Callable[[ApiError], Awaitable[None]]) -> None:
    """Runs a request; whatever it raises is answered. What nobody foresaw is logged under an id and told as 500."""
    try:
        await work()
    except ApiError as error:
        await refuse(error)
    except StoreError as error:
        await refuse(of_store(error))
    except TimeoutError:
        await refuse(TimedOut())
    except Exception:
        incident = uuid.uuid4().hex[:12]
        log.exception("request failed", incident=incident)
        await refuse(internal(f"see the server's log for incident {incident}"))
