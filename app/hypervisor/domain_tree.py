"""Domain XML as a tree: parsed without trusting it, and written out again. What was parsed is what is sent, so that
libvirt's parser never sees anything that ours did not."""

from __future__ import annotations

from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder, tostring
from xml.parsers import expat

MAX_LENGTH = 256 * 1024
"""Characters. A large guest's XML has some 20,000."""
MAX_DEPTH = 32
MAX_ELEMENTS = 20_000


class BadXml(ValueError):
    """The text is not XML that Drover takes; the message says why."""


def parse(text: str) -> Element:
    """The root. Comments and processing instructions are dropped; a DTD, and with it every entity, is refused. Raises BadXml."""
    if len(text) > MAX_LENGTH:
        raise BadXml(f"is longer than {MAX_LENGTH} characters")
    reading = _Reading()
    parser = expat.ParserCreate(encoding="utf-8", namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as wrong:
        raise BadXml(f"is not well-formed: {wrong}") from wrong
    except UnicodeEncodeError as wrong:
        raise BadXml("has characters that no text may have") from wrong
    return reading.root()


def write(root: Element) -> str:
    """The document, without a declaration."""
    return tostring(root, encoding="unicode", short_empty_elements=True)


class _Reading:
    """Builds the tree and counts, so that neither depth nor number get out of hand."""

    def __init__(self) -> None:
        self._builder = TreeBuilder()
        self._depth = 0
        self._elements = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_DEPTH:
            raise BadXml(f"is nested more than {MAX_DEPTH} deep")
        if self._elements > MAX_ELEMENTS:
            raise BadXml(f"has more than {MAX_ELEMENTS} elements")
        self._builder.start(_qualified(name), {_qualified(key): value for key, value in attributes.items()})

    def end(self, name: str) -> None:
        self._depth -= 1
        self._builder.end(_qualified(name))

    def data(self, text: str) -> None:
        self._builder.data(text)

    def root(self) -> Element:
        return self._builder.close()


def _qualified(name: str) -> str:
    """expat's `uri}local` as ElementTree's `{uri}local`."""
    return "{" + name if "}" in name else name


def _refuse_doctype(*_: object) -> NoReturn:
    raise BadXml("has a document type declaration: entities are not allowed")
