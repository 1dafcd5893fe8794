"""The schemas that every OpenAPI document has: metadata, lists, Status, options, watch events."""

from __future__ import annotations

from app.machinery.objects import Document
from app.machinery.schema import API_VERSION_TEXT, KIND_TEXT, metadata_schema
from app.machinery.structural import FREE_FORM

REFERENCE = "#/components/schemas/"

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
OBJECT_META = f"{_META}ObjectMeta"
OWNER_REFERENCE = f"{_META}OwnerReference"
MANAGED_FIELDS_ENTRY = f"{_META}ManagedFieldsEntry"
FIELDS_V1 = f"{_META}FieldsV1"
LIST_META = f"{_META}ListMeta"
STATUS = f"{_META}Status"
STATUS_DETAILS = f"{_META}StatusDetails"
STATUS_CAUSE = f"{_META}StatusCause"
DELETE_OPTIONS = f"{_META}DeleteOptions"
PRECONDITIONS = f"{_META}Preconditions"
PATCH = f"{_META}Patch"
STRATEGIC_PATCH = f"{_META}StrategicPatch"
APPLY_PATCH = f"{_META}ApplyPatch"
WATCH_EVENT = f"{_META}WatchEvent"
EVICTION = "io.k8s.api.policy.v1.Eviction"
SHARED_SHAPES = {name: f"{_META}{name}" for name in ("FieldSelectorRequirement", "LabelSelectorRequirement")}
"""Shapes that kinds of every group are made of, by the names of their models."""

_STRING: Document = {"type": "string"}
_INTEGER: Document = {"type": "integer", "format": "int64"}
TYPE_META: Document = {
    "apiVersion": {**_STRING, "description": API_VERSION_TEXT},
    "kind": {**_STRING, "description": KIND_TEXT},
}


def reference(name: str) -> Document:
    return {"$ref": REFERENCE + name}


def described(name: str, description: str) -> Document:
    """A reference with a description of its own."""
    return {"description": description, "allOf": [reference(name)]}


def _text(description: str) -> Document:
    return {**_STRING, "description": description}


def _integer(description: str) -> Document:
    return {**_INTEGER, "description": description}


def _list(items: Document, description: str) -> Document:
    return {"type": "array", "items": items, "description": description, "x-kubernetes-list-type": "atomic"}


def _core_gvk(kind: str) -> list[Document]:
    return [{"group": "", "version": "v1", "kind": kind}]


def _object_meta() -> dict[str, Document]:
    """ObjectMeta, and by reference what it is made of."""
    schema = metadata_schema().openapi
    fields: Document = schema["properties"]
    managed = fields["managedFields"]["items"]
    moments = ("creationTimestamp", "deletionTimestamp")
    shared = {
        **{name: {**fields[name], "format": "date-time"} for name in moments},
        "ownerReferences": {**fields["ownerReferences"], "items": reference(OWNER_REFERENCE)},
        "managedFields": {**fields["managedFields"], "items": reference(MANAGED_FIELDS_ENTRY)},
    }
    owned = managed["properties"]["fieldsV1"]
    return {
        OBJECT_META: {**schema, "properties": {**fields, **shared}},
        OWNER_REFERENCE: fields["ownerReferences"]["items"],
        MANAGED_FIELDS_ENTRY: {
            **managed,
            "properties": {**managed["properties"], "fieldsV1": described(FIELDS_V1, owned["description"])},
        },
        FIELDS_V1: {"type": "object", "description": "Fields as a set, in the form of a map.", **FREE_FORM},
    }


def _list_meta() -> Document:
    return {
        "type": "object",
        "description": "ListMeta describes metadata that lists have.",
        "properties": {
            "continue": _text("Set when there is more: the token with which to ask for it."),
            "remainingItemCount": _integer("How many more there are, where that is known."),
            "resourceVersion": _text("The version of the store that the list shows; a watch can start from it."),
            "selfLink": _text("The path of this list."),
        },
    }


def _status() -> dict[str, Document]:
    """Status, and what it is made of."""
    cause = {
        "type": "object",
        "description": "StatusCause is one thing that is wrong, of perhaps several.",
        "properties": {
            "field": _text("The field that caused the error, such as metadata.name."),
            "message": _text("The cause for people."),
            "reason": _text("The cause for programs."),
        },
    }
    details = {
        "type": "object",
        "description": "StatusDetails has more about the reason.",
        "properties": {
            "causes": _list(reference(STATUS_CAUSE), "Everything that is wrong."),
            "group": _text("The group of the resource."),
            "kind": _text("The kind of the resource, or its name in addresses."),
            "name": _text("The name of the object."),
            "retryAfterSeconds": {"type": "integer", "format": "int32", "description": "When to try again."},
            "uid": _text("UID of the object."),
        },
    }
    status = {
        "type": "object",
        "description": "Status is an answer that is not an object: an error, or a success without one.",
        "properties": {
            **TYPE_META,
            "code": {"type": "integer", "format": "int32", "description": "The HTTP status; 0 or unset is unknown."},
            "details": described(STATUS_DETAILS, "More about the reason."),
            "message": _text("What happened, for people."),
            "metadata": described(LIST_META, "Standard list metadata."),
            "reason": _text("What happened, for programs."),
            "status": _text("Success or Failure."),
        },
        "x-kubernetes-group-version-kind": _core_gvk("Status"),
    }
    return {STATUS: status, STATUS_DETAILS: details, STATUS_CAUSE: cause}


def _patches() -> dict[str, Document]:
    """An object also for JSON patches, as kube-apiserver has it: generated clients then take any body."""
    free: Document = {"type": "object", **FREE_FORM}
    return {
        PATCH: {
            **free,
            "description": "Patch is a part of an object, merged into it by RFC 7386 (null removes); as "
            "application/json-patch+json it is a list of operations by RFC 6902.",
        },
        STRATEGIC_PATCH: {
            **free,
            "description": "StrategicPatch is a part of an object, merged into it by the marks of its schema.",
        },
        APPLY_PATCH: {
            **free,
            "description": "ApplyPatch has the fields of an object that its sender wants to own, with apiVersion and kind.",
        },
    }


def _eviction() -> Document:
    return {
        "type": "object",
        "description": "Eviction asks for a pod to go, in its own time.",
        "properties": {
            **TYPE_META,
            "deleteOptions": described(DELETE_OPTIONS, "How it is deleted."),
            "metadata": described(OBJECT_META, "Which pod."),
        },
        "x-kubernetes-group-version-kind": [{"group": "policy", "version": "v1", "kind": "Eviction"}],
    }


def _delete_options() -> Document:
    return {
        "type": "object",
        "description": "DeleteOptions may be given when deleting an object.",
        "properties": {
            **TYPE_META,
            "dryRun": _list(_STRING, "All: judge the request, and write nothing."),
            "gracePeriodSeconds": _integer("Seconds before the object is deleted; 0 is at once."),
            "orphanDependents": {"type": "boolean", "description": "Deprecated: use propagationPolicy."},
            "preconditions": described(PRECONDITIONS, "What must be so, or nothing is deleted."),
            "propagationPolicy": _text("What happens to dependents: Orphan, Background or Foreground."),
        },
        "x-kubernetes-group-version-kind": _core_gvk("DeleteOptions"),
    }


META_SCHEMAS: Document = {
    **_object_meta(),
    LIST_META: _list_meta(),
    **_status(),
    **_patches(),
    DELETE_OPTIONS: _delete_options(),
    PRECONDITIONS: {
        "type": "object",
        "description": "Preconditions must be fulfilled before an operation is carried out.",
        "properties": {
            "resourceVersion": _text("The version that the object must have."),
            "uid": _text("The UID that the object must have."),
        },
    },
    WATCH_EVENT: {
        "type": "object",
        "description": "WatchEvent is one change.",
        "required": ["type", "object"],
        "properties": {
            "object": {
                "type": "object",
                "description": "The object as it is after the change; of ERROR a Status.",
                **FREE_FORM,
            },
            "type": _text("ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."),
        },
        "x-kubernetes-group-version-kind": _core_gvk("WatchEvent"),
    },
    EVICTION: _eviction(),
}
"""By name. Written once: they do not depend on what is served."""
