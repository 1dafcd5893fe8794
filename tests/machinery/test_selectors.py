"""Selectors: who is matched, and which texts are refused with which words."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.machinery.errors import ApiError
from app.machinery.objects import Document
from app.machinery.selectors import (
    match_expressions,
    matches_label_selector,
    matches_node_terms,
    parse_fields,
    parse_labels,
)
from tests.machinery.examples import HAPPENING, HOST, MACHINE

LABELS = {"env": "prod", "tier": "web", "n": "5", "empty": "", "a.b/c": "d"}

MATCHING = (
    "",
    "env",
    "env=prod",
    "env == prod",
    " env  =  prod ",
    "env!=dev",
    "missing!=dev",
    "env in (prod,dev)",
    "env notin (dev)",
    "missing notin (dev)",
    "!missing",
    "n>4",
    "n<6",
    "empty=",
    "empty in ()",
    "empty in (,x)",
    "a.b/c=d",
    "env=prod,tier in (web),!missing",
    "env in (prod, dev) , tier",
)
NOT_MATCHING = (
    "missing",
    "env=dev",
    "env!=prod",
    "env in (dev)",
    "env notin (prod,dev)",
    "!env",
    "n>5",
    "n<5",
    "env>1",
    "missing>1",
    "env=",
    "missing=",
    "env=prod,tier=db",
    "empty!=",
)


@pytest.mark.parametrize("text", MATCHING)
def test_labels_match(text: str) -> None:
    assert parse_labels(text).matches(LABELS)


@pytest.mark.parametrize("text", NOT_MATCHING)
def test_labels_do_not_match(text: str) -> None:
    assert not parse_labels(text).matches(LABELS)


def test_words_of_the_grammar_may_be_keys_and_values() -> None:
    assert parse_labels("in in (in,notin)").matches({"in": "notin"})
    assert parse_labels("notin=in").matches({"notin": "in"})


UNPARSABLE = {
    "!!": "unable to parse requirement: found '!', expected: identifier",
    "a in (": "unable to parse requirement: found '', expected: ',', ')' or identifier",
    "a in (b": "unable to parse requirement: found '', expected: ',' or ')'",
    "a in b": "unable to parse requirement: found 'b' expected: '('",
    "a=b,,": "found ',', expected: identifier after ','",
    "a=b,": "found '', expected: identifier after ','",
    ",a=b": "found ',', expected: !, identifier, or 'end of string'",
    "a b": "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
    "a=b c": "found 'c', expected: ',' or 'end of string'",
    "a=(": "unable to parse requirement: found '(', expected: identifier",
    "n>x": "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, "
    "the value must be an integer",
}


@pytest.mark.parametrize("text", UNPARSABLE)
def test_an_unparsable_label_selector_is_400_in_kube_apiservers_words(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_labels(text)

    assert (400, UNPARSABLE[text]) == (refused.value.code, refused.value.message)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("-a=b", 'unable to parse requirement: <nil>: Invalid value: "-a": name part must consist of'),
        ("a=-b", 'unable to parse requirement: values[0][a]: Invalid value: "-b": a valid label must be'),
    ],
)
def test_a_label_that_cannot_exist_cannot_be_selected(text: str, start: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_labels(text)

    assert refused.value.message.startswith(start)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other tests share the cores
@given(st.text("ab=!(),<> in", max_size=12))
def test_any_text_is_a_selector_or_a_400(text: str) -> None:
    try:
        selector = parse_labels(text)
    except ApiError as refused:
        assert refused.code == 400
    else:
        assert selector.matches({}) in (True, False)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "x", "1"])), st.sampled_from(["", "x", "1"]))
def test_equal_and_not_equal_part_the_world(labels: dict[str, str], value: str) -> None:
    assert parse_labels(f"a={value}").matches(labels) != parse_labels(f"a!={value}").matches(labels)
    assert parse_labels(f"a in ({value})").matches(labels) != parse_labels(f"a notin ({value})").matches(labels)
    assert parse_labels("a").matches(labels) != parse_labels("!a").matches(labels)


# Fields

MACHINE_DOCUMENT: Document = {
    "metadata": {"name": "v1", "namespace": "default"},
    "spec": {"nodeName": "a=b,c\\d"},
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "metadata.name=v1",
        "metadata.name==v1,",
        "metadata.name=v1,metadata.namespace=default",
        "metadata.name!=v2",
        "spec.nodeName=a\\=b\\,c\\\\d",
        ",,",
    ],
)
def test_fields_match(text: str) -> None:
    assert parse_fields(text, MACHINE).matches(MACHINE_DOCUMENT)


@pytest.mark.parametrize(
    "text", ["metadata.name=v2", "metadata.name=", "metadata.name=v1,metadata.name=v2", "metadata.name= v1"]
)
def test_fields_do_not_match(text: str) -> None:
    assert not parse_fields(text, MACHINE).matches(MACHINE_DOCUMENT)


REFUSED_FIELDS = {
    "junk": "invalid selector: 'junk'; can't understand 'junk'",
    "status.phase=Running": "field label not supported: status.phase",
    "metadata.labels=x": "field label not supported: metadata.labels",
    "metadata.uid=v1": "field label not supported: metadata.uid",
    "metadata.name=a=b": "invalid field selector: unescaped character in value: 61",
    "metadata.name=a\\x": "invalid field selector: invalid escape sequence: \\x",
}


@pytest.mark.parametrize("text", REFUSED_FIELDS)
def test_a_field_selector_is_refused_with_kube_apiservers_words(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_fields(text, MACHINE)

    assert (400, REFUSED_FIELDS[text]) == (refused.value.code, refused.value.message)


def test_an_unset_field_is_empty_and_a_core_kinds_boolean_false() -> None:
    assert parse_fields("spec.nodeName=", MACHINE).matches({"metadata": {}})
    assert parse_fields("spec.unschedulable=false", HOST).matches({"metadata": {}})
    assert parse_fields("spec.unschedulable=true", HOST).matches({"spec": {"unschedulable": True}})


def test_a_field_of_a_body_is_selected() -> None:
    selector = parse_fields("involvedObject.name=u,reason=Moved", HAPPENING)

    assert selector.matches({"involvedObject": {"name": "u"}, "reason": "Moved"})


def test_an_event_is_selected_by_its_sources_component() -> None:
    kind = dataclasses.replace(HAPPENING, selectable=("source",))

    assert parse_fields("source=drover", kind).matches({"source": {"component": "drover", "host": "h"}})


def test_one_name_can_become_a_scope() -> None:
    selector = parse_fields("metadata.namespace!=a,metadata.name=x", MACHINE)

    assert selector.exact("metadata.name") == "x"
    assert selector.exact("metadata.namespace") is None


# Match expressions

EXPRESSIONS: dict[str, tuple[Document, bool]] = {
    "in": ({"key": "env", "operator": "In", "values": ["prod"]}, True),
    "not in": ({"key": "env", "operator": "NotIn", "values": ["prod"]}, False),
    "not in, missing": ({"key": "missing", "operator": "NotIn", "values": ["prod"]}, True),
    "exists": ({"key": "env", "operator": "Exists"}, True),
    "does not exist": ({"key": "env", "operator": "DoesNotExist"}, False),
    "greater": ({"key": "n", "operator": "Gt", "values": ["4"]}, True),
    "not greater": ({"key": "n", "operator": "Gt", "values": ["5"]}, False),
    "less": ({"key": "n", "operator": "Lt", "values": ["6"]}, True),
    "no number": ({"key": "env", "operator": "Lt", "values": ["6"]}, False),
    "nothing to compare with": ({"key": "n", "operator": "Gt"}, False),
    "unknown operator": ({"key": "n", "operator": "Like", "values": ["5"]}, False),
}


@pytest.mark.parametrize("case", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_a_match_expression(case: tuple[dict[str, Any], bool]) -> None:
    expression, expected = case

    assert expected is match_expressions(LABELS, [expression])


def test_terms_are_alternatives_and_an_empty_one_matches_nothing() -> None:
    hit = {"matchExpressions": [{"key": "env", "operator": "Exists"}]}
    miss = {"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]}
    named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}

    assert matches_node_terms(LABELS, {}, [miss, hit])
    assert not matches_node_terms(LABELS, {}, [miss])
    assert not matches_node_terms(LABELS, {}, [{}])
    assert not matches_node_terms(LABELS, {}, [])
    assert matches_node_terms({}, {"metadata.name": "n1"}, [named])


def test_a_label_selector_document_wants_labels_and_expressions() -> None:
    selector = {"matchLabels": {"env": "prod"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}

    assert matches_label_selector(LABELS, selector)
    assert not matches_label_selector({"env": "prod"}, selector)
    assert matches_label_selector({}, {})
