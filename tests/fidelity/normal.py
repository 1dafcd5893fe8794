"""Answers without what differs from run to run: uids, versions, times, ages, tokens, generated names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.machinery import go_yaml
from app.machinery.documents import parse_yaml
from app.machinery.protobuf import of_protobuf
from tests.fidelity.server import Answer

HEADERS = (
    "allow", "audit-id", "cache-control", "content-encoding", "content-type", "etag", "expires", "last-modified", "location",
    "retry-after", "vary", "warning", "www-authenticate", "x-content-type-options",
)  # fmt: skip
"""What clients read."""

PROTOBUF = b"k8s\0"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|\+00:00)")
_MICROTIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_AGE = re.compile(r"(?:\d+[ydhms]){1,2}")
_HEX = re.compile(r"[0-9A-F]{64,128}")
_TEXTS = (
    (re.compile(r"current: \d+"), "current: <rv>"),
    (re.compile(r"too old resource version: (\d+) \(\d+\)"), r"too old resource version: \1 (<rv>)"),
    (re.compile(r"precondition \(\d{2,}\)"), "precondition (<rv>)"),
    (re.compile(r"k8s.io/kubernetes/pkg/api/legacyscheme"), "pkg/api/legacyscheme"),
    (re.compile(r"in record \(\d+\)"), "in record (<rv>)"),
    (re.compile(r"ResourceVersion in object meta: \d+"), "ResourceVersion in object meta: <rv>"),
    (re.compile(r'(resourceVersion\\*":\\*")\d+'), r"\1<rv>"),
    (re.compile(r"127\.0\.0\.1:\d+|localhost:\d+"), "<host>"),
    (re.compile(r"\d+\.\d+\.\d+\.\d+/\d+"), "<net>"),
    (re.compile(r'Invalid value: "\{(?:[^"\\]|\\.)*\}"'), 'Invalid value: "<the object>"'),
)
_MADE_UP = "[bcdfghjklmnpqrstvwxz2456789]{5}"
"""What a generated name ends with."""


@dataclass(frozen=True, slots=True)
class Normal:
    """An answer as it is compared."""

    code: int
    headers: tuple[tuple[str, str], ...]
    body: Any
    form: str
    """What the body was: json, pretty json, yaml, text, lines of events, protobuf, its events."""

    def text(self) -> str:
        shown = (
            self.body
            if isinstance(self.body, str)
            else json.dumps(self.body, indent=1, sort_keys=True, ensure_ascii=False)
        )
        headers = "".join(f"{name}: {value}\n" for name, value in self.headers)
        return f"{self.code}\n{headers}({self.form})\n{shown}\n"


def normalized(answers: Sequence[Answer], own: str) -> list[Normal]:
    """The answers of one case: what was made up is numbered as it is met, versions by their order; the case's own name is $id."""
    read = [_read(answer) for answer in answers]
    asked = [answer.sent.document for answer in answers]
    names = _Names([*asked, *(body for _, body in read)], own)
    return [
        Normal(answer.code, _headers(answer, names), names.of(body), form)
        for answer, (form, body) in zip(answers, read, strict=True)
    ]


def _read(answer: Answer) -> tuple[str, Any]:
    """The form of a body, and the body."""
    raw = answer.content
    type_ = next((value for name, value in answer.headers if name.lower() == "content-type"), "")
    if not raw:
        return "nothing", ""
    if raw.startswith(PROTOBUF):
        return "protobuf", _unpacked(raw)
    if "protobuf" in type_ and "stream=watch" in type_:
        return "events of protobuf", list(_frames(raw))
    if type_ == "application/yaml":
        return _yaml(raw)
    if "json" in type_:
        try:
            document = json.loads(raw)
        except ValueError:
            return _events(raw)
        # A watch may have told one event only: whether a last bookmark comes as well is a matter of time.
        lone = isinstance(document, dict) and document.keys() == {"type", "object"}
        return ("events", [document]) if lone else (_form(raw), document)
    return "text", raw.decode("utf-8", "backslashreplace")


def _frames(raw: bytes) -> Iterator[Any]:
    """Each is its length, its type, and the object in its envelope."""
    while raw:
        end = 4 + int.from_bytes(raw[:4], "big")
        event, raw = raw[4:end], raw[end:]
        yield {"type": event[2 : 2 + event[1]].decode(), "object": _unpacked(event[event.find(PROTOBUF) :])}


def _yaml(raw: bytes) -> tuple[str, Any]:
    """Whether it is laid out as Drover lays it out belongs to its form."""
    document = parse_yaml(raw)[0]
    laid_out = raw.rstrip() == go_yaml.written(document).rstrip()
    return f"yaml{'' if laid_out else ', laid out otherwise'}", document


def _unpacked(raw: bytes) -> Any:
    try:
        return of_protobuf(raw)
    except Exception as error:  # noqa: BLE001 - whatever cannot be read is shown as it is, and differs
        return f"{type(error).__name__}: {raw.hex()}"


def _form(raw: bytes) -> str:
    pretty = "pretty " if raw.startswith(b"{\n") else ""
    ended = "" if raw.endswith(b"}\n") else ", no end of line"
    return f"{pretty}json{ended}"


def _events(raw: bytes) -> tuple[str, Any]:
    try:
        return "events", [json.loads(line) for line in raw.splitlines()]
    except ValueError:
        return "text", raw.decode("utf-8", "backslashreplace")


def _headers(answer: Answer, names: _Names) -> tuple[tuple[str, str], ...]:
    kept = []
    for name, value in answer.headers:
        name = name.lower()
        if name not in HEADERS:
            continue
        if name in ("audit-id", "expires", "last-modified"):
            value = "<there>"
        elif name == "etag":
            value = f"<{len(value)} characters>"
        kept.append((name, names.text(value)))
    return tuple(sorted(kept))


class _Names:
    """What the server made up, by what it is called in a comparison."""

    def __init__(self, documents: Sequence[Any], own: str) -> None:
        self._own = own
        self._uids: dict[str, str] = {}
        self._versions: set[int] = set()
        self._bases: set[str] = set()
        for document in documents:
            self._learn(document)
        self._ranks = {str(version): f"<rv {rank}>" for rank, version in enumerate(sorted(self._versions), 1)}

    def _learn(self, value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                self._learn(item)
        if not isinstance(value, dict):
            return
        if _is_version(value.get("resourceVersion")) and ("uid" in value or "name" in value):
            self._versions.add(int(value["resourceVersion"]))
        base = value.get("generateName")
        if isinstance(base, str) and base:
            self._bases.add(base[:58])
        for below in value.values():
            self._learn(below)

    def of(self, value: Any, field: str = "", beside: Mapping[str, Any] | None = None) -> Any:
        if isinstance(value, list):
            return [self.of(item, field) for item in value]
        if isinstance(value, dict):
            value = _sorted_causes(value)
            return {self.text(name): self.of(below, name, value) for name, below in value.items()}
        if not isinstance(value, str):
            return value
        if field == "resourceVersion" and _is_version(value):
            return self._ranks.get(value, "<rv>") if beside and ("uid" in beside or "name" in beside) else "<rv>"
        if field == "continue" and value:
            return "<token>"
        if field == "cells" and _AGE.fullmatch(value):
            return "<age>"
        return self.text(value)

    def text(self, value: str) -> str:
        for base in self._bases:
            value = re.sub(
                rf"(?<![\w.-]){re.escape(base)}{_MADE_UP}(?![\w.-])", f"{base}<made up>".replace("\\", r"\\"), value
            )
        value = value.replace(self._own, "$id")
        for pattern, shown in _TEXTS:
            value = pattern.sub(shown, value)
        value = _MICROTIME.sub("<microtime>", value)
        value = _TIME.sub("<time>", value)
        value = _HEX.sub("<hash>", value)
        return _UUID.sub(lambda found: self._uids.setdefault(found[0], f"<uid {len(self._uids) + 1}>"), value)


def _sorted_causes(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """A Status in whose message and details errors are in one order: kube-apiserver's own changes from run to run."""
    details = status.get("details")
    if status.get("kind") != "Status" or not isinstance(details, dict) or len(details.get("causes") or ()) < 2:
        return status
    causes = sorted(details["causes"], key=lambda cause: json.dumps(cause, sort_keys=True))
    what, _, errors = status.get("message", "").partition(" is invalid: ")
    message = ", ".join(sorted(errors.replace("[", "").replace("]", "").split(", ")))
    return {**status, "message": f"{what} is invalid: {message}", "details": {**details, "causes": causes}}


def _is_version(value: Any) -> bool:
    return isinstance(value, str) and value.isdecimal() and value != "0"
