"""The options of a request, judged as kube-apiserver judges them: of lists and watches, of writes, of deletions."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import orjson

from app.api.errors import invalid_options
from app.api.requests import flag, integer, listed
from app.machinery.decoding import in_any_case
from app.machinery.documents import OBJECT
from app.machinery.errors import ApiError, FieldError, bad_request, forbidden, invalid, required, too_long, unsupported
from app.machinery.go_json import cannot_unmarshal, syntax_error
from app.machinery.objects import Document
from app.machinery.values import value
from app.store.base import Key, Revision

MANAGER_LIMIT = 128


class Match(StrEnum):
    """What a list's resourceVersion means."""

    UNSET = ""
    EXACT = "Exact"
    NOT_OLDER_THAN = "NotOlderThan"


class Validation(StrEnum):
    """What becomes of fields that the schema does not know, and of repeated ones."""

    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a continue token goes on: after a key, in the snapshot at a revision; None is the newest state."""

    after: Key
    revision: Revision | None
    left: int | None = None
    """How many there are after it in that snapshot, so that nobody need count them again."""

    def token(self) -> str:
        revision = -1 if self.revision is None else self.revision
        said: Document = {"v": "meta.k8s.io/v1", "rv": revision, "start": f"{self.after.namespace}/{self.after.name}\0"}
        if self.left is not None:
            said["left"] = self.left
        text = json.dumps(said, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def read(cls, token: str, resource: str) -> Position:
        """Raises 400 for what is not a token."""
        try:
            text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError as error:
            strange = _NO_BASE64.search(token)
            raise _invalid_token(f"illegal base64 data at input byte {strange.start() if strange else 0}") from error
        try:
            parsed = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise _invalid_token(syntax_error(text) or str(error)) from error
        match parsed:
            case {"v": "meta.k8s.io/v1", "rv": int(revision), "start": str(start)} if revision and start:
                if not _is_position(revision, start):
                    raise _invalid_token(start)
                namespace, name = start.rstrip("\0").split("/")
                if revision < 0:
                    return cls(Key(resource, namespace, name), None)
                left = parsed.get("left")
                return cls(Key(resource, namespace, name), revision, left if _is_count(left) else None)
            case {"v": "meta.k8s.io/v1", "rv": int(revision)} if revision:
                why = "encoded start key empty (version meta.k8s.io/v1)"
            case {"v": "meta.k8s.io/v1"}:
                why = "incorrect encoded start resourceVersion (version meta.k8s.io/v1)"
            case _:
                version = parsed.get("v", "") if isinstance(parsed, dict) else ""
                raise bad_request(f"{_INVALID_TOKEN} server does not recognize this encoded version {version}")
        raise _invalid_token(why)


_NO_BASE64 = re.compile(r"[^A-Za-z0-9_-]")
_INVALID_TOKEN = "invalid continue token: continue key is not valid:"


def _invalid_token(why: str) -> ApiError:
    return bad_request(f"{_INVALID_TOKEN} {why}")


@value()
class ListOptions:
    """Of a list or a watch. `revision` None: not given."""

    watch: bool
    labels: str
    fields: str
    limit: int
    position: Position | None
    revision: Revision | None
    match: Match
    timeout_s: int | None
    """Less than nothing has passed already."""
    bookmarks: bool
    initial_events: bool = False
    """Of a watch: are the objects that there are told first?"""

    @classmethod
    def read(cls, parameters: Mapping[str, str], resource: str, *, watch: bool) -> ListOptions:
        """Raises 400 for what cannot be parsed, 422 for what does not fit together."""
        limit = integer(parameters, "limit") or 0
        timeout_s = integer(parameters, "timeoutSeconds")
        if watch:
            parameters = _with_initial_events(parameters)
        errors = list(_watch_errors(parameters) if watch else _list_errors(parameters))
        if errors:
            raise invalid_options("ListOptions", errors)
        # A watch has no pages: kube-apiserver does not look at the token.
        token = "" if watch else parameters.get("continue", "")
        said = parameters.get("resourceVersion", "")
        position = Position.read(token, resource) if token else None
        if token and said not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        revision = _revision(said)
        return cls(
            watch=watch,
            labels=parameters.get("labelSelector", ""),
            fields=parameters.get("fieldSelector", ""),
            limit=max(limit, 0),
            position=position,
            revision=revision,
            match=Match(parameters.get("resourceVersionMatch", "")),
            timeout_s=timeout_s or None,
            bookmarks=flag(parameters, "allowWatchBookmarks"),
            initial_events=flag(parameters, "sendInitialEvents"),
        )


def _with_initial_events(parameters: Mapping[str, str]) -> Mapping[str, str]:
    """A watch from nowhere in particular is told what there is, as if it had asked for it."""
    said = "sendInitialEvents" in parameters or parameters.get("resourceVersionMatch")
    if said or parameters.get("resourceVersion", "") not in ("", "0"):
        return parameters
    return {**parameters, "sendInitialEvents": "true", "resourceVersionMatch": Match.NOT_OLDER_THAN}


_INVALID_REVISION = "invalid resource version: "


def _revision(text: str) -> Revision | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()):
        why = "invalid syntax"
    elif len(text) > 20 or int(text) >= 2**64:
        why = "value out of range"
    else:
        return int(text)
    detail = f'strconv.ParseUint: parsing "{text}": {why}'
    raise bad_request(f"{_INVALID_REVISION}{invalid('resourceVersion', text, detail)}")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_position(revision: int, start: str) -> bool:
    """Can there be such a place?"""
    steps = start.rstrip("\0").split("/")
    return revision < 2**63 and len(steps) == 2 and not {".", ".."} & set(steps) and "\0" not in start.rstrip("\0")


def revision_of_get(parameters: Mapping[str, str]) -> Revision:
    """The least revision that a get may answer from; 0 when any will do."""
    text = parameters.get("resourceVersion", "")
    try:
        return _revision(text) or 0
    except ApiError as error:
        # kube-apiserver's storage says this one, and nobody on the way makes a 400 of it.
        raise ApiError(500, "", error.message.removeprefix(_INVALID_REVISION)) from error


def _list_errors(parameters: Mapping[str, str]) -> Iterator[FieldError]:
    match = parameters.get("resourceVersionMatch", "")
    revision = parameters.get("resourceVersion", "")
    if match:
        field = "resourceVersionMatch"
        if not revision:
            yield forbidden(field, f"{field} is forbidden unless resourceVersion is provided")
        if parameters.get("continue"):
            yield forbidden(field, f"{field} is forbidden when continue is provided")
        if match not in (Match.EXACT, Match.NOT_OLDER_THAN):
            yield unsupported(field, match, [Match.EXACT, Match.NOT_OLDER_THAN, ""])
        if match == Match.EXACT and revision == "0":
            yield forbidden(field, f'{field} "exact" is forbidden for resourceVersion "0"')
    if "sendInitialEvents" in parameters:
        yield forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")


def _watch_errors(parameters: Mapping[str, str]) -> Iterator[FieldError]:
    match = parameters.get("resourceVersionMatch", "")
    field = "resourceVersionMatch"
    if "sendInitialEvents" in parameters:
        if match != Match.NOT_OLDER_THAN:
            yield forbidden(field, f"sendInitialEvents requires setting {field} to {Match.NOT_OLDER_THAN}")
    elif match:
        yield forbidden(field, f"{field} is forbidden for watch unless sendInitialEvents is provided")
    if match and match != Match.NOT_OLDER_THAN:
        yield unsupported(field, match, [Match.NOT_OLDER_THAN])
    if match and parameters.get("continue"):
        yield forbidden(field, f"{field} is forbidden when continue is provided")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Of a create, an update or a patch."""

    dry_run: bool
    validation: Validation
    manager: str
    force: bool

    @classmethod
    def read(cls, parameters: Mapping[str, str], kind: str, *, apply: bool = False) -> WriteOptions:
        """Raises 422. `kind` is what the error calls the options."""
        if not parameters and not apply:
            return _WITHOUT
        errors = [
            *_manager_errors(parameters.get("fieldManager", ""), apply=apply),
            *_dry_run_errors(listed(parameters, "dryRun")),
            *_validation_errors(parameters.get("fieldValidation", "")),
        ]
        if "force" in parameters and kind == "PatchOptions" and not apply:
            errors.insert(0, forbidden("force", "may not be specified for non-apply patch"))
        if errors:
            raise invalid_options(kind, errors)
        return cls(
            dry_run="dryRun" in parameters,
            validation=Validation(parameters.get("fieldValidation") or Validation.WARN),
            manager=parameters.get("fieldManager", ""),
            force=flag(parameters, "force"),
        )


_WITHOUT = WriteOptions(dry_run=False, validation=Validation.WARN, manager="", force=False)


def _dry_run_errors(values: list[str]) -> Iterator[FieldError]:
    if any(value != "All" for value in values):
        yield unsupported("dryRun", values, ["All"])


def _manager_errors(manager: str, *, apply: bool) -> Iterator[FieldError]:
    if apply and not manager:
        yield required("fieldManager", "is required for apply patch")
    if len(manager.encode()) > MANAGER_LIMIT:
        yield too_long("fieldManager", MANAGER_LIMIT)
    position = 0
    for letter in manager:
        if not letter.isprintable():
            yield invalid("fieldManager", manager, f"invalid character U+{ord(letter):04X} (at position {position})")
        position += len(letter.encode())


@lru_cache(maxsize=256)
def manager_of(user_agent: str) -> str:
    """Who writes when the request does not say: the client's program, by the bytes of its header."""
    said = user_agent.partition("/")[0].encode("latin-1").decode(errors="replace")
    name = "".join(letter for letter in said if letter.isprintable())
    while len(name.encode()) > MANAGER_LIMIT:
        name = name[:-1]
    return name


def _validation_errors(value: str) -> Iterator[FieldError]:
    if value and value not in tuple(Validation):
        yield unsupported("fieldValidation", value, ["", *sorted(Validation)])


PROPAGATIONS = ("Foreground", "Background", "Orphan", "nil")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """Of a delete."""

    dry_run: bool
    document: Document
    """The options themselves, for what the lifecycle looks at: preconditions and propagation."""

    @classmethod
    def read(cls, parameters: Mapping[str, str], body: Document | None) -> DeleteOptions:
        """From the body, which then says everything, or from the query when there is none. Raises 400 and 422."""
        source = _of_query(parameters) if body is None else _of_body(body)
        dry_run: list[str] = source.get("dryRun") or []
        errors = [*_propagation_errors(source), *_dry_run_errors(dry_run)]
        if errors:
            raise invalid_options("DeleteOptions", errors)
        return cls(bool(dry_run), source)

    @property
    def cascades(self) -> bool:
        """In the old words: `orphanDependents: false`."""
        return self.document.get("orphanDependents") is False


_DELETE_TYPES: dict[str, tuple[type, str]] = {
    "gracePeriodSeconds": (int, "int64"),
    "preconditions": (dict, "v1.Preconditions"),
    "orphanDependents": (bool, "bool"),
    "propagationPolicy": (str, "v1.DeletionPropagation"),
    "dryRun": (list, "[]string"),
}


_SCHEME = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"


def _of_body(body: Document) -> Document:
    body = in_any_case(body)
    for name in ("apiVersion", "kind"):
        if not isinstance(body.get(name) or "", str):
            raise bad_request(OBJECT.prefix + cannot_unmarshal(body[name], "string", f".{name}"))
    if str(body.get("apiVersion")).count("/") > 1:
        raise bad_request(f"unexpected GroupVersion string: {body['apiVersion']}")
    kind = body.get("kind") or "DeleteOptions"
    if kind != "DeleteOptions":
        version = body.get("apiVersion") or "meta.k8s.io/v1"
        if (kind, version) == ("Status", "v1"):
            raise bad_request("converting (v1.Status) to (v1.DeleteOptions): unknown conversion")
        raise bad_request(f'no kind "{kind}" is registered for version "{version}" in scheme "{_SCHEME}"')
    for name, (wanted, go_type) in _DELETE_TYPES.items():
        value = body.get(name)
        if value is not None and type(value) is not wanted:
            raise bad_request(cannot_unmarshal(value, go_type, f"DeleteOptions.{name}"))
    for value in body.get("dryRun") or ():
        if not isinstance(value, str):
            raise bad_request(cannot_unmarshal(value, "string", "DeleteOptions.dryRun"))
    for name in ("uid", "resourceVersion"):
        value = (body.get("preconditions") or {}).get(name)
        if value is not None and not isinstance(value, str):
            go_type = "types.UID" if name == "uid" else "string"
            raise bad_request(cannot_unmarshal(value, go_type, f"Preconditions.preconditions.{name}"))
    return dict(body)


def _of_query(parameters: Mapping[str, str]) -> Document:
    source: Document = {name: parameters[name] for name in ("propagationPolicy",) if name in parameters}
    if "dryRun" in parameters:
        source["dryRun"] = listed(parameters, "dryRun")
    if preconditions := {name: parameters[name] for name in ("uid", "resourceVersion") if parameters.get(name)}:
        source["preconditions"] = preconditions
    grace = integer(parameters, "gracePeriodSeconds")
    if grace is not None:
        source["gracePeriodSeconds"] = grace
    if "orphanDependents" in parameters:
        source["orphanDependents"] = flag(parameters, "orphanDependents")
    return source


def _propagation_errors(source: Mapping[str, object]) -> Iterator[FieldError]:
    policy = source.get("propagationPolicy")
    if policy is None:
        return
    if source.get("orphanDependents") is not None:
        yield invalid("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set")
    elif policy not in PROPAGATIONS[:3]:
        yield unsupported("propagationPolicy", policy, PROPAGATIONS)
