"""A document's bytes."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from app.machinery.objects import Document
from app.store.body import encoded, split

WORDS = st.sampled_from(
    ["apiVersion", "kind", "metadata", "resourceVersion", "spec", "a", '"metadata":{"resourceVersion":"']
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    document: Document = draw(st.dictionaries(WORDS, VALUES, max_size=5))
    return document | {"metadata": draw(st.dictionaries(WORDS, VALUES, max_size=4))}


def with_revision(document: Document, revision: int) -> Document:
    return document | {"metadata": document["metadata"] | {"resourceVersion": str(revision)}}


@given(documents(), st.integers(0, 2**63 - 1))
def test_the_bytes_say_the_document_and_the_revision(document: Document, revision: int) -> None:
    body = encoded(document).at(revision)

    assert with_revision(document, revision) == orjson.loads(body)


@given(documents(), st.integers(0, 2**63 - 1))
def test_the_revision_is_found_again(document: Document, revision: int) -> None:
    body = encoded(document)

    assert body == split(body.at(revision))


@given(documents())
def test_the_order_of_fields_is_no_difference(document: Document) -> None:
    turned = dict(reversed(document.items())) | {"metadata": dict(reversed(document["metadata"].items()))}

    assert encoded(document).equals(encoded(turned))


@given(documents(), documents())
def test_what_differs_is_not_equal(one: Document, other: Document) -> None:
    one, other = with_revision(one, 0), with_revision(other, 0)
    same = orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)

    assert same == encoded(one).equals(encoded(other))


def test_a_document_without_metadata_gets_some() -> None:
    assert encoded({"spec": {}}).at(7) == b'{"metadata":{"resourceVersion":"7"},"spec":{}}'
