"""The schemas that every OpenAPI document has: metadata, lists, Status, options, watch events."""

from __future__ import annotations

from app.machinery.objects import Document
from app.machinery.schema import API_VERSION_TEXT, KIND_TEXT, metadata_schema

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
OBJECT_META = f"{_META}ObjectMeta"
LIST_META = f"{_META}ListMeta"
STATUS = f"{_META}Status"
DELETE_OPTIONS = f"{_META}DeleteOptions"
PRECONDITIONS = f"{_META}Preconditions"
PATCH = f"{_META}Patch"
WATCH_EVENT = f"{_META}WatchEvent"
OWNER_REFERENCE = f"{_META}OwnerReference"

_STRING: Document = {"type": "string"}
_INTEGER: Document = {"type": "integer", "format": "int64"}
_TYPE_META: Document = {
    "apiVersion": {**_STRING, "description": API_VERSION_TEXT},
    "kind": {**_STRING, "description": KIND_TEXT},
}


def _text(description: str) -> Document:
    return {**_STRING, "description": description}


def _core_gvk(kind: str) -> list[Document]:
    return [{"group": "", "version": "v1", "kind": kind}]


def _object_meta() -> Document:
    """ObjectMeta with its owners by reference."""
    schema = metadata_schema().openapi
    owners = schema["properties"]["ownerReferences"]
    shared = {**owners, "items": {"$ref": f"#/components/schemas/{OWNER_REFERENCE}"}}
    return {**schema, "properties": {**schema["properties"], "ownerReferences": shared}}


def _list_meta() -> Document:
    return {
        "type": "object",
        "description": "ListMeta describes metadata that lists have.",
        "properties": {
            "continue": _text("Set when there is more: the token with which to ask for it."),
            "remainingItemCount": {**_INTEGER, "description": "How many more there are, where that is known."},
            "resourceVersion": _text("The version of the store that the list shows; a watch can start from it."),
            "selfLink": _text("The path of this list."),
        },
    }


def _status() -> Document:
    cause = {
        "type": "object",
        "properties": {
            "field": _text("The field that caused the error."),
            "message": _text("The cause for people."),
            "reason": _text("The cause for programs."),
        },
    }
    details = {
        "type": "object",
        "description": "Extended data about the reason.",
        "properties": {
            "causes": {"type": "array", "items": cause, "x-kubernetes-list-type": "atomic"},
            "group": _text("The group of the resource."),
            "kind": _text("The kind of the resource."),
            "name": _text("The name of the resource."),
            "retryAfterSeconds": {**_INTEGER, "description": "When to try again."},
            "uid": _text("UID of the resource."),
        },
    }
    return {
        "type": "object",
        "description": "Status is an answer that is not an object: an error, or a success without one.",
        "properties": {
            **_TYPE_META,
            "code": {**_INTEGER, "description": "The HTTP status."},
            "details": details,
            "message": _text("What happened, for people."),
            "metadata": {"$ref": f"#/components/schemas/{LIST_META}"},
            "reason": _text("What happened, for programs."),
            "status": _text("Success or Failure."),
        },
        "x-kubernetes-group-version-kind": _core_gvk("Status"),
    }


def _delete_options() -> Document:
    return {
        "type": "object",
        "description": "DeleteOptions may be given when deleting an object.",
        "properties": {
            **_TYPE_META,
            "dryRun": {
                "type": "array",
                "items": _STRING,
                "description": "All: judge the request, and write nothing.",
                "x-kubernetes-list-type": "atomic",
            },
            "gracePeriodSeconds": {**_INTEGER, "description": "Seconds before the object is deleted; 0 is at once."},
            "orphanDependents": {"type": "boolean", "description": "Deprecated: use propagationPolicy."},
            "preconditions": {"$ref": f"#/components/schemas/{PRECONDITIONS}"},
            "propagationPolicy": _text("What happens to dependents: Orphan, Background or Foreground."),
        },
        "x-kubernetes-group-version-kind": _core_gvk("DeleteOptions"),
    }


META_SCHEMAS: Document = {
    OBJECT_META: _object_meta(),
    OWNER_REFERENCE: metadata_schema().openapi["properties"]["ownerReferences"]["items"],
    LIST_META: _list_meta(),
    STATUS: _status(),
    DELETE_OPTIONS: _delete_options(),
    PRECONDITIONS: {
        "type": "object",
        "description": "Preconditions must be fulfilled before an operation is carried out.",
        "properties": {
            "resourceVersion": _text("The version that the object must have."),
            "uid": _text("The UID that the object must have."),
        },
    },
    PATCH: {"type": "object", "description": "Patch describes a change of an object, by the content type's rules."},
    WATCH_EVENT: {
        "type": "object",
        "description": "WatchEvent is one change.",
        "required": ["type", "object"],
        "properties": {
            "object": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "type": _text("ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."),
        },
        "x-kubernetes-group-version-kind": _core_gvk("WatchEvent"),
    },
}
"""By name. Written once: they do not depend on what is served."""
