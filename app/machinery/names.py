"""Names: what may be called what, and where an object is found. The texts are kube-apiserver's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from app.machinery.kind import GroupVersion, Kind

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""What generated names end in: no vowels, so no words; no digits that look like letters."""
SUFFIX_LENGTH = 5
LONGEST_BASE = 58

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def dns_label(name: str) -> Sequence[str]:
    """What is wrong with it as a DNS-1123 label."""
    problems = []
    if len(name.encode()) > 63:
        problems.append("must be no more than 63 characters")
    if not _LABEL.fullmatch(name):
        problems.append("must not contain dots" if _SUBDOMAIN.fullmatch(name) else _LABEL_TEXT)
    return problems


def dns_subdomain(name: str, *, unit: str = "characters") -> Iterator[str]:
    """What is wrong with it as a DNS-1123 subdomain. Bytes are counted, whatever kube-apiserver calls them."""
    if len(name.encode()) > 253:
        yield f"must be no more than 253 {unit}"
    if not _SUBDOMAIN.fullmatch(name):
        yield _SUBDOMAIN_TEXT


@lru_cache(maxsize=4096)
def qualified_name(name: str) -> tuple[str, ...]:
    """What is wrong with it as `[prefix/]name`: the key of a label, an annotation or a finalizer."""
    return tuple(_qualified_name_problems(name))


def _qualified_name_problems(name: str) -> Iterator[str]:
    prefix, slash, last = name.rpartition("/")
    if "/" in prefix:
        yield (
            f"a valid label key {_QUALIFIED_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )
        return
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif slash:
        yield from (f"prefix part {problem}" for problem in dns_subdomain(prefix, unit="bytes"))
    if not last:
        yield "name part must be non-empty"
    elif len(last.encode()) > 63:
        yield "name part must be no more than 63 bytes"
    if not _QUALIFIED.fullmatch(last):
        yield f"name part {_QUALIFIED_TEXT}"


def label_value(value: str) -> Sequence[str]:
    """What is wrong with it as the value of a label."""
    problems = []
    if len(value.encode()) > 63:
        problems.append("must be no more than 63 bytes")
    if value and not _QUALIFIED.fullmatch(value):
        problems.append(_VALUE_TEXT)
    return problems


def path_segment(name: str, *, begins: bool = False) -> Iterator[str]:
    """What is wrong with it as a step of a path, or as what one begins with."""
    if name in (".", "..") and not begins:
        yield f"may not be '{name}'"
        return
    for letter in "/%":
        if letter in name:
            yield f"may not contain '{letter}'"


def object_name(kind: Kind[Any, Any], name: str, *, begins: bool = False) -> Iterable[str]:
    """What is wrong with it as the name of such an object, or as what a generated one begins with."""
    if kind.any_name:
        return path_segment(name, begins=begins)
    if begins and len(name) > 1 and name.endswith("-"):
        # kube-apiserver does not look at what is before the dash either.
        name = f"{name[:-2]}a"
    if begins and kind.dns_label and not kind.contains and len(name.encode()) <= 253:
        name = name[:LONGEST_BASE]  # what is longer is cut off
    return dns_label(name) if kind.dns_label else dns_subdomain(name)


def generated(base: str, suffix: str) -> str:
    """The name that generateName makes, never longer than a label."""
    return base[:LONGEST_BASE] + suffix


def self_link(kind: Kind[Any, Any], group_version: GroupVersion, namespace: str, name: str = "") -> str:
    """The path of an object, or of a collection when the name is empty."""
    where = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    return f"{group_version.path}{where}/{kind.plural}" + (f"/{name}" if name else "")
