"""Request bodies: JSON and YAML become documents, and what cannot be read is said in Go's words."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.machinery.documents import Beyond, parse_json, parse_yaml
from app.machinery.errors import ApiError

UNREADABLE = {
    b"{bad": "invalid character 'b' looking for beginning of object key string",
    b"[": "unexpected end of JSON input",
    b'{"a":"x': "unexpected end of JSON input",
    b"": "unexpected end of JSON input",
    b'{"a":1,}': "invalid character '}' looking for beginning of object key string",
    b'{"a" 1}': "invalid character '1' after object key",
    b'{"a":1 "b":2}': "invalid character '\"' after object key:value pair",
    b"{}x": "invalid character 'x' after top-level value",
    b"[1 2]": "invalid character '2' after array element",
    b"[" * 100_000: "unexpected end of JSON input",
    b"hello": "invalid character 'h' looking for beginning of value",
    b"nul": "unexpected end of JSON input",
    b"trie": "invalid character 'i' in literal true (expecting 'u')",
    b'{"a":"\t"}': r"invalid character '\t' in string literal",
    b'{"a":"\\x"}': "invalid character 'x' in string escape code",
    b'{"a":"\\u12g4"}': r"invalid character 'g' in \u hexadecimal character escape",
    b'{"a":-x}': "invalid character 'x' in numeric literal",
    b'{"a":1.x}': "invalid character 'x' after decimal point in numeric literal",
    b'{"a":1e+}': "invalid character '}' in exponent of numeric literal",
    b"{'a':1}": r"invalid character '\'' looking for beginning of object key string",
    b"\x81\xaa": r"invalid character '\u0081' looking for beginning of value",
    b"1" * 100: r"json: cannot unmarshal number into Go value of type struct { APIVersion string "
    r'"json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }',
    b"[]": r'json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; '
    r'Kind string "json:\"kind,omitempty\"" }',
}


@pytest.mark.parametrize("body", UNREADABLE, ids=lambda body: repr(body[:20]))
def test_unreadable_json_is_400_in_gos_words(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        parse_json(body)

    said = f"couldn't get version/kind; json parse error: {UNREADABLE[body]}"
    assert (400, said) == (refused.value.code, refused.value.message)


@pytest.mark.parametrize("written", ["1e999", "-1e999", "9" * 400])
def test_a_number_that_is_too_large_for_any_type_is_refused(written: str) -> None:
    with pytest.raises(Beyond, match=f"cannot unmarshal number {written} into Go value of type float64"):
        parse_json(f'{{"a":{written}}}'.encode())


def test_duplicate_fields_are_named_and_the_last_wins() -> None:
    body = b'{"spec":{"nodeName":"a","nodeName":"b"},"l":[{"x":1},{"x":1,"x":2}],"t":"\\"a\\":1"}'

    document, duplicates = parse_json(body)

    assert document == {"spec": {"nodeName": "b"}, "l": [{"x": 1}, {"x": 2}], "t": '"a":1'}
    assert duplicates == ["spec.nodeName", "l[1].x"]


def test_a_quoted_document_inside_a_text_is_no_duplicate() -> None:
    body = json.dumps({"a": json.dumps({"a": 1, "b": {"a": 2}}), "b": '"a" :'}).encode()

    assert parse_json(body)[1] == []


def test_colons_elsewhere_hide_no_duplicate() -> None:
    assert parse_json(b'{"a": "x:y", "a": "::", "b": ["c:d", {"e": ":"}]}')[1] == ["a"]


@pytest.mark.parametrize(
    "body", [rb'{"a":1,"a":"x\u003a"}', b'{"a":":","a":1}', b'{"a":{"b":1},"a":"::"}', b'{"a" :1,"a":":"}']
)
def test_a_colon_in_a_text_makes_up_for_no_duplicate(body: bytes) -> None:
    assert parse_json(body)[1] == ["a"]


def test_a_duplicate_behind_odd_spaces_is_found() -> None:
    assert parse_json(b'{"a" :1, "a"\n:2}')[1] == ["a"]


def test_yaml_is_read_as_kube_apiserver_reads_it() -> None:
    body = b"""
t: 2017-03-15T11:25:47Z
yes: yes
port: 0777
m: 1
f: 1.5
e: 1e3
nothing:
tilde: ~
off: true
1: x
a: &a {q: 1}
b: *a
c: {<<: *a, z: 1}
"""

    document, duplicates = parse_yaml(body)

    assert duplicates == []
    assert document == {
        "t": "2017-03-15T11:25:47Z",
        "true": True,
        "port": 0o777,
        "m": 1,
        "f": 1.5,
        "e": 1000,
        "nothing": None,
        "tilde": None,
        "false": True,
        "1": "x",
        "a": {"q": 1},
        "b": {"q": 1},
        "c": {"q": 1, "z": 1},
    }
    assert document["a"] is not document["b"]


def test_yaml_duplicates_are_named() -> None:
    assert parse_yaml(b"a:\n  b: 1\n  b: 2\n")[1] == ['line 3: key "b" already set in map']
    assert parse_yaml(b"{yes: 1, on: 2, 1: x, 0x1: y}")[1] == [
        "line 1: key true already set in map",
        "line 1: key 1 already set in map",
    ]


SCALARS = {
    "yes": True, "Yes": True, "YES": True, "yEs": "yEs", "y": True, "N": False, "on": True, "Off": False, "TRUE": True,
    "tRUE": "tRUE", "~": None, "": None, "null": None, "012": 10, "0o7": 7, "0b11": 3, "-0x5": -5, "+5": 5, "08": 8,
    "1_000": 1000, "9_9_": 99, "1e2": 100, "1.0": 1, "1.5": 1.5, ".5": 0.5, "+.5": 0.5, "1e999": "1e999", "1:30": "1:30",
    "2001-01-01": "2001-01-01", "0x": "0x", "+": "+", ".": ".", "1.2.3": "1.2.3", "18446744073709551615": 2**64 - 1,
    "18446744073709551616": 2.0**64, "!!str yes": "yes", "!!int '5'": 5, "!!float 5": 5, "!foo 5": "5", "!!binary aGk=": "hi",
    "!!timestamp 2001-01-01": "2001-01-01", "<<": "<<", "'yes'": "yes", "!!set {a, b}": {"a": None, "b": None},
    "!!python/object/apply:os.getcwd []": [],
}  # fmt: skip


@pytest.mark.parametrize(("written", "value"), SCALARS.items())
def test_a_scalar_is_what_go_takes_it_for(written: str, value: object) -> None:
    [read] = parse_yaml(f"a: {written}".encode())[0].values()

    assert read == value
    assert type(read) is type(value)


REFUSED = {
    ".inf": "json: unsupported value: +Inf",
    "-.Inf": "json: unsupported value: -Inf",
    ".NaN": "json: unsupported value: NaN",
    "!!int x": "yaml: cannot decode !!str `x` as a !!int",
    "!!null x": "yaml: cannot decode !!str `x` as a !!null",
    "!!timestamp x": "yaml: cannot decode !!str `x` as a !!timestamp",
    "!!binary '*'": "yaml: !!binary value contains invalid base64 data",
    "{~: x}": 'unsupported map key of type: %!s(<nil>), key: <nil>, value: "x"',
}


@pytest.mark.parametrize(("written", "why"), REFUSED.items())
def test_what_go_does_not_take_is_refused_in_its_words(written: str, why: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_yaml(f"a: {written}".encode())

    assert (refused.value.code, refused.value.message) == (400, why)


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    f"{name}: &{name} [{','.join([f'*{below}'] * 10)}]\n".encode()
    for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "an alias bomb": BOMB,
    "a document inside itself": b"a: &a [*a]",
    "deep flow lists": b"a: " + b"[" * 100_000,
    "deep block lists": b"- " * 100_000,
    "deep JSON": b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    "a key that is a list": b"? [a]\n: b",
    "a list": b"- a",
    "a text": b"a",
    "tabs": b"a:\n\t- b",
    "half a document": b"{bad: [",
    "not UTF-8": b"\xff\xfe\x00",
    "a number that JSON has not": b"a: .inf",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_yaml_is_400(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        parse_yaml(body)

    assert refused.value.code == 400


@pytest.mark.parametrize("depth", [129, 2_000, 200_000])
def test_deep_json_is_400(depth: int) -> None:
    with pytest.raises(ApiError) as refused:
        parse_json(b'{"a":' * depth + b"1" + b"}" * depth)

    assert refused.value.code == 400


def test_json_of_128_levels_is_read() -> None:
    document, _ = parse_json(b'{"a":' * 128 + b"1" + b"}" * 128)

    assert "a" in document


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text('aé"\\\n:{}', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab":{}\\', max_size=4), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other tests share the cores
@given(st.dictionaries(st.text('ab":{}\\ ', max_size=4), JSON, max_size=4))
def test_what_was_encoded_is_read_back_without_duplicates(document: dict[str, object]) -> None:
    assert (document, []) == parse_json(json.dumps(document).encode())
