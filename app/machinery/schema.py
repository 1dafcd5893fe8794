"""The schema of a kind: is a document of the right shape, which of its fields are unknown, what are its defaults."""

from __future__ import annotations

import copy
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import orjson

from app.machinery.errors import FieldError, duplicate, invalid, required, too_long, too_many, unsupported
from app.machinery.kind import Kind
from app.machinery.objects import Document, ObjectMeta
from app.machinery.structural import FREE_FORM, structural

Fits = Callable[[Any], bool]
"""True when there is nothing to say about a value: no error, no unknown field, no null. False means: look closer."""

_FREE = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_TYPE_INVALID = "FieldValueTypeInvalid"


class Schema:
    """A structural OpenAPI schema, compiled: a well-formed document costs one pass of closures and nothing else."""

    def __init__(self, openapi: Document) -> None:
        self.openapi = openapi
        self._fits = _fits(openapi)
        self._default = _default(openapi)

    def fits(self, document: Any) -> bool:
        """True when there is nothing to say about it."""
        return self._fits(document)

    def check(self, document: Any) -> list[FieldError]:
        """Every error, in kube-apiserver's words."""
        if self._fits(document):
            return []
        return [*_errors(self.openapi, document, ""), *_repeated(self.openapi, document, "")]

    def fractions(self, document: Any) -> list[FieldError]:
        """An error for each integer that is written with a fraction or an exponent: `3.0` is one to kube-apiserver's schemas,
        and none to Go's types."""
        return [type_invalid(path, "integer", "number") for path in _fractions(self.openapi, document, "")]

    def prune(self, document: Document) -> list[str]:
        """Remove unknown fields in place; their paths."""
        if self._fits(document):
            return []
        unknown: list[str] = []
        _prune(self.openapi, document, "", unknown)
        return unknown

    def drop_empty(self, document: Document) -> None:
        """Remove empty lists and maps in place: what is compiled into kube-apiserver leaves them out."""
        _drop_empty(self.openapi, document)

    def default(self, document: Document, *, fits: bool = False, applied: bool = False) -> None:
        """Drop nulls (they mean unset, unless they were applied) and write `3.0` as `3`, then fill in defaults, in place.
        `fits` where that is known already."""
        if not (fits or self._fits(document)):
            _wholes(self.openapi, document)
            if not applied:
                _drop_nulls(self.openapi, document)
        if self._default is not None:
            self._default(document)

    def at(self, path: str) -> Document | None:
        """The schema of a dotted path; None where it does not lead anywhere."""
        found: Document | None = self.openapi
        for step in path.split(".") if path else ():
            if found is None:
                return None
            found = _below(found, step)
        return found


@lru_cache(maxsize=256)
def schema_of(kind: Kind[Any, Any]) -> Schema:
    """The compiled schema of a kind, built once."""
    return Schema(object_schema(kind))


@lru_cache(maxsize=1)
def metadata_schema() -> Schema:
    """The compiled schema of metadata, which every kind shares."""
    return Schema(_object_meta())


def object_schema(kind: Kind[Any, Any]) -> Document:
    """The whole object: apiVersion, kind, metadata, and spec and status or the kind's own body."""
    if kind.body is not None:
        return with_type_meta(kind, _object_meta(), structural(kind.body))
    parts = {"spec": structural(kind.spec)} | ({"status": structural(kind.status)} if kind.has_status else {})
    return with_type_meta(kind, _object_meta(), whole(parts, spec=parts["spec"]))


def whole(parts: Document, *, spec: Document) -> Document:
    """The schema of what has a spec and a status: a spec of which something is required is required itself."""
    return {"properties": parts, "required": ["spec"] if spec.get("required") else []}


def with_type_meta(kind: Kind[Any, Any], metadata: Document, body: Document) -> Document:
    """The object's schema: what every object has, and the body's properties."""
    properties: Document = {
        "apiVersion": {"type": "string", "description": API_VERSION_TEXT},
        "kind": {"type": "string", "description": KIND_TEXT},
        "metadata": metadata,
        **body.get("properties", {}),
    }
    required = {"required": body["required"]} if body.get("required") else {}
    return {"type": "object", "description": kind.description, "properties": properties, **required}


API_VERSION_TEXT = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized "
    "schemas to the latest internal value, and may reject unrecognized values."
)
KIND_TEXT = (
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the "
    "endpoint the client submits requests to. Cannot be updated. In CamelCase."
)


MANAGED_FIELDS: Document = {
    "type": "array",
    "x-kubernetes-list-type": "atomic",
    "description": "Who owns which field: one entry for each manager, by the way it wrote. Kept by the server.",
    "items": {
        "type": "object",
        "description": "What one manager owns.",
        "properties": {
            "apiVersion": {"type": "string", "description": "The version that the fields are named in."},
            "fieldsType": {"type": "string", "description": "FieldsV1, the only format that there is."},
            "fieldsV1": {
                "type": "object",
                "description": "The fields: f:<name> is a field, k:<keys> and v:<value> an item, and . the thing itself.",
                **FREE_FORM,
            },
            "manager": {"type": "string", "description": "The name of who owns them."},
            "operation": {"type": "string", "description": "Apply or Update: how they came to be owned."},
            "subresource": {"type": "string", "description": "The subresource that was written; empty for the object."},
            "time": {"type": "string", "format": "date-time", "description": "When fields were last added or changed."},
        },
    },
}


def _object_meta() -> Document:
    schema = structural(ObjectMeta)
    schema["properties"]["managedFields"] = MANAGED_FIELDS
    return schema


def _below(schema: Document, step: str) -> Document | None:
    """One step down, through the items of a list where there is one."""
    if schema.get("type") == "array":
        schema = schema.get("items", {})
    known: Document | None = schema.get("properties", {}).get(step)
    if known is not None:
        return known
    if isinstance(schema.get("additionalProperties"), dict):
        values: Document = schema["additionalProperties"]
        return values
    return dict(FREE_FORM) if schema.get(_FREE) else None


# The quick pass


def _fits(schema: Document) -> Fits:
    """Compile the test that nearly every document passes."""
    if schema.get("nullable"):
        test = _fits({**schema, "nullable": False})
        return lambda value: value is None or test(value)
    if schema.get(_INT_OR_STRING):
        return lambda value: type(value) is int or type(value) is str
    match schema.get("type"):
        case "object":
            return _object_fits(schema)
        case "array":
            return _array_fits(schema)
        case "string":
            return _string_fits(schema)
        case "integer":
            return _number_fits(schema, (int,))
        case "number":
            return _number_fits(schema, (int, float))
        case "boolean":
            return lambda value: value is True or value is False
        case _:
            return lambda value: True


def _string_fits(schema: Document) -> Fits:
    if not schema.keys() & {"enum", "pattern", "minLength", "maxLength", "format"}:
        return lambda value: type(value) is str
    choices = frozenset(schema["enum"]) if "enum" in schema else None
    least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    search = _pattern(schema["pattern"]).search if "pattern" in schema else None
    form = schema.get("format")

    def fits(value: Any) -> bool:
        return (
            type(value) is str
            and (choices is None or value in choices)
            and least <= len(value) <= most
            and (search is None or search(value) is not None)
            and (form is None or _has_format(form, value))
        )

    return fits


_LEAST, _MOST = -(2**63), 2**63 - 1
"""Between these a number without a fraction is an integer; kube-apiserver reads others as numbers."""


def _overflows(schema: Document, value: Any) -> bool:
    """More than 32 bits where that is all that there is place for."""
    return schema.get("format") == "int32" and type(value) is int and not -(2**31) <= value < 2**31


def _number_fits(schema: Document, types: tuple[type, ...]) -> Fits:
    if types == (int,) and not schema.keys() & {"enum", "minimum", "maximum", "multipleOf"}:
        if schema.get("format") == "int32":
            return lambda value: type(value) is int and not _overflows(schema, value)
        return lambda value: type(value) is int and _LEAST <= value <= _MOST
    if not schema.keys() & {"enum", "minimum", "maximum", "multipleOf"}:
        return lambda value: type(value) in types
    return lambda value: (
        type(value) in types and _LEAST <= value <= _MOST and not any(_number_errors(schema, value, ""))
    )


def _array_fits(schema: Document) -> Fits:
    item_fits = _fits(schema.get("items", {}))
    bounded = bool(schema.keys() & {"minItems", "maxItems"})
    unique = schema.get("x-kubernetes-list-type") in ("map", "set")

    def fits(value: Any) -> bool:
        if type(value) is not list:
            return False
        for item in value:
            if not item_fits(item):
                return False
        if bounded and any(_size_errors(schema, value, "")):
            return False
        return not (unique and len(value) > 1 and any(_repeated_items(schema, value, "")))

    return fits


def _object_fits(schema: Document) -> Fits:
    known = {name: _fits(below) for name, below in schema.get("properties", {}).items()}
    needed = frozenset(schema.get("required", ()))
    values = schema.get("additionalProperties")
    value_fits = _fits(values) if isinstance(values, dict) else None
    free = bool(schema.get(_FREE))
    get = known.get

    def fits(value: Any) -> bool:
        if type(value) is not dict:
            return False
        for name, below in value.items():
            test = get(name, value_fits)
            if test is None:
                if not free:
                    return False
            elif not test(below):
                return False
        return not needed or needed <= value.keys()

    return _map_of_strings_fits if values == {"type": "string"} and not known and not needed else fits


def _map_of_strings_fits(value: Any) -> bool:
    if type(value) is not dict:
        return False
    for item in value.values():  # noqa: SIM110  (a generator costs more than the map)
        if type(item) is not str:
            return False
    return True


# The closer look


def _errors(schema: Document, value: Any, path: str) -> Iterator[FieldError]:
    """Every error below, depth first, a type error hiding what is under it. In kube-apiserver's order."""
    if schema.get(_INT_OR_STRING):
        if type(value) not in (int, str):
            yield type_invalid(path, "integer,string", type_name(value))
        return
    expected = schema.get("type")
    if expected is None or (value is None and schema.get("nullable")):
        return
    if expected == "string" and schema.get("format") in _FORMATS and type(value) in _GO_FORMATS:
        yield type_invalid(path, schema["format"], _GO_FORMATS[type(value)])
    elif not _is_a(expected, value) or _overflows(schema, value):
        yield type_invalid(path, expected, type_name(value))
        if expected == "integer" and type_name(value) == "number":
            yield FieldError(NOWHERE, "FieldValueInvalid", _NO_INTEGER.format(path=path))
            yield from _number_errors(schema, float(value), path)
        else:
            yield from _enum_errors(schema, value, path)
    elif expected == "object":
        yield from _object_errors(schema, value, path)
    elif expected == "array":
        for index, item in enumerate(value):
            yield from _errors(schema.get("items", {}), item, f"{path}[{index}]")
        yield from _size_errors(schema, value, path)
    elif expected == "string":
        yield from _string_errors(schema, value, path)
    elif expected in ("integer", "number"):
        yield from _number_errors(schema, value, path)


def _object_errors(schema: Document, value: Document, path: str) -> Iterator[FieldError]:
    known = schema.get("properties", {})
    values = schema.get("additionalProperties")
    for name, item in value.items():
        below = known.get(name, values)
        if isinstance(below, dict):
            yield from _errors(below, item, child(path, name))
    for name in schema.get("required", ()):
        if name not in value:
            yield required(child(path, name))


def _size_errors(schema: Document, value: list[Any], path: str) -> Iterator[FieldError]:
    if "minItems" in schema and len(value) < schema["minItems"]:
        yield invalid(path, len(value), f"{path} in body should have at least {schema['minItems']} items")
    if "maxItems" in schema and len(value) > schema["maxItems"]:
        yield too_many(path, len(value), schema["maxItems"])


def _repeated(schema: Document, value: Any, path: str) -> Iterator[FieldError]:
    """Items below that are there twice in lists of type set or map; each is told once."""
    if isinstance(value, list):
        yield from _repeated_items(schema, value, path)
    for below, item, where in _inside(schema, value, path):
        yield from _repeated(below, item, where)


def _repeated_items(schema: Document, value: list[Any], path: str) -> Iterator[FieldError]:
    if schema.get("x-kubernetes-list-type") == "map":
        strangers = [index for index, item in enumerate(value) if not isinstance(item, dict | None)]
        for index in strangers:
            yield invalid(f"{path}[{index}]", value[index], "must be an object for an array of list-type map")
        if strangers:
            return
    times: Counter[bytes] = Counter()
    for index, identity in _identities(schema, value):
        times[identity] += 1
        if times[identity] == 2:
            yield duplicate(f"{path}[{index}]", orjson.loads(identity))


def _identities(schema: Document, value: list[Any]) -> Iterator[tuple[int, bytes]]:
    """What must be unique in a list of type set or map: the item, or its keys."""
    keys = schema.get("x-kubernetes-list-map-keys", ())
    for index, item in enumerate(value):
        if schema.get("x-kubernetes-list-type") == "set":
            yield index, orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
        elif schema.get("x-kubernetes-list-type") == "map" and isinstance(item, dict):
            defaults = schema.get("items", {}).get("properties", {})
            named = {key: item.get(key, defaults.get(key, {}).get("default")) for key in keys}
            yield index, orjson.dumps({key: said for key, said in named.items() if said is not None})


def _string_errors(schema: Document, value: str, path: str) -> Iterator[FieldError]:
    """Of length and pattern the first that is wrong."""
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield too_long(path, schema["maxLength"])
    elif "minLength" in schema and len(value) < schema["minLength"]:
        yield invalid(path, value, f"{path} in body should be at least {schema['minLength']} chars long")
    elif "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        yield invalid(path, value, f"{path} in body should match '{schema['pattern']}'")
    if "format" in schema and not _has_format(schema["format"], value):
        yield type_invalid(path, schema["format"], value)
    yield from _enum_errors(schema, value, path)


def _enum_errors(schema: Document, value: Any, path: str) -> Iterator[FieldError]:
    if "enum" in schema and value not in schema["enum"]:
        yield unsupported(path, value, [str(choice) for choice in schema["enum"]])


def _number_errors(schema: Document, value: float, path: str) -> Iterator[FieldError]:
    step = schema.get("multipleOf")
    if step and value % step:
        yield invalid(path, value, f"{path} in body should be a multiple of {step}")
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value <= low if schema.get("exclusiveMinimum") else value < low):
        than = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid(path, value, f"{path} in body should be {than} {low}")
    if high is not None and (value >= high if schema.get("exclusiveMaximum") else value > high):
        than = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield invalid(path, value, f"{path} in body should be {than} {high}")
    yield from _enum_errors(schema, value, path)


_NO_INTEGER = 'Invalid value: "": Checked value must be of type integer (default format) in {path}'
NOWHERE = "<nil>"
"""The path of what kube-apiserver does not say the place of."""


def type_invalid(path: str, expected: str, actual: str) -> FieldError:
    """A wrong type in the words of kube-apiserver's schema validation, which names the type twice."""
    quoted = orjson.dumps(actual).decode()
    message = f"Invalid value: {quoted}: {path} in body must be of type {expected}: {quoted}"
    return FieldError(path or NOWHERE, _TYPE_INVALID, message)


def is_type_error(error: FieldError) -> bool:
    return error.reason == _TYPE_INVALID


def type_name(value: Any) -> str:
    """JSON's word for the type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) and not _LEAST <= value <= _MOST:
        return "number"
    return {str: "string", int: "integer", float: "number", list: "array", dict: "object"}[type(value)]


def _is_a(expected: str, value: Any) -> bool:
    actual = type_name(value)
    if expected == "number":
        return actual in ("integer", "number")
    if expected == "integer" and actual == "number":
        return isinstance(value, float) and value.is_integer() and _LEAST <= value <= _MOST
    return actual == expected


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


_FORMATS = {
    "date-time": re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)"),
    "uuid": re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"),
}


_GO_FORMATS = {int: "int64", float: "float64", bool: "", dict: ""}
"""What is said of values that cannot have the format of a text."""


def _has_format(name: str, value: str) -> bool:
    pattern = _FORMATS.get(name)
    return pattern is None or pattern.fullmatch(value) is not None


def child(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# Unknown fields, nulls, defaults


def _inside(schema: Document, value: Any, path: str) -> Iterator[tuple[Document, Any, str]]:
    """The values directly below that the schema describes, each with its schema and path."""
    if isinstance(value, dict):
        known, values = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in value.items():
            below = known.get(name, values)
            if isinstance(below, dict):
                yield below, item, child(path, name)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield schema["items"], item, f"{path}[{index}]"


def _prune(schema: Document, value: Any, path: str, unknown: list[str]) -> None:
    """Of whatever type the value should be: where it is an object, it has the fields that the schema says, and no others."""
    if isinstance(value, dict):
        known, values = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in list(value.items()):
            below = known.get(name, values)
            if isinstance(below, dict):
                _prune(below, item, child(path, name), unknown)
            elif not schema.get(_FREE):
                del value[name]
                unknown.append(child(path, name))
    elif isinstance(value, list):
        items = schema.get("items", FREE_FORM if schema.get(_FREE) else {})
        for index, item in enumerate(value):
            _prune(items, item, f"{path}[{index}]", unknown)


def _fractions(schema: Document, value: Any, path: str) -> Iterator[str]:
    if type(value) is float and schema.get("type") == "integer":
        yield path
    for below, item, where in _inside(schema, value, path):
        yield from _fractions(below, item, where)


def _wholes(schema: Document, value: Any) -> Any:
    """The value with its numbers that have no fraction written without one."""
    if type(value) is float:
        return int(value) if schema.get("type") in ("integer", "number") and _is_a("integer", value) else value
    if isinstance(value, dict):
        known, values = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in value.items():
            if isinstance(below := known.get(name, values), dict):
                value[name] = _wholes(below, item)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        value[:] = [_wholes(schema["items"], item) for item in value]
    return value


def _drop_nulls(schema: Document, value: Any) -> None:
    if isinstance(value, dict):
        known, values = schema.get("properties", {}), schema.get("additionalProperties")
        nulls = [name for name, item in value.items() if item is None and isinstance(known.get(name, values), dict)]
        for name in nulls:
            del value[name]
    for below, item, _ in _inside(schema, value, ""):
        _drop_nulls(below, item)


def _drop_empty(schema: Document, value: Any) -> None:
    for below, item, _ in _inside(schema, value, ""):
        _drop_empty(below, item)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in [name for name, item in value.items() if item in ([], {}) and _is_collection(known.get(name))]:
            del value[name]


def _is_collection(schema: Document | None) -> bool:
    """A list or an open map, rather than a struct."""
    return schema is not None and (schema.get("type") == "array" or "additionalProperties" in schema)


def _default(schema: Document) -> Callable[[Any], None] | None:
    """Compile what fills in defaults; None where there are none below, so that whole branches are skipped."""
    item_default = _default(schema["items"]) if isinstance(schema.get("items"), dict) else None
    values = schema.get("additionalProperties")
    value_default = _default(values) if isinstance(values, dict) else None
    own = {name: below["default"] for name, below in schema.get("properties", {}).items() if "default" in below}
    nested = dict(_with_defaults(schema.get("properties", {}).items()))
    if not own and not nested and item_default is None and value_default is None:
        return None

    def fill(value: Any) -> None:
        if isinstance(value, dict):
            for name, default in own.items():
                if name not in value:
                    value[name] = copy.deepcopy(default)
            for name, deeper in nested.items():
                if name in value:
                    deeper(value[name])
            if value_default is not None:
                for item in value.values():
                    value_default(item)
        elif isinstance(value, list) and item_default is not None:
            for item in value:
                item_default(item)

    return fill


def _with_defaults(properties: Iterable[tuple[str, Document]]) -> Iterator[tuple[str, Callable[[Any], None]]]:
    for name, below in properties:
        deeper = _default(below)
        if deeper is not None:
            yield name, deeper
