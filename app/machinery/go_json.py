"""What Go's JSON decoder says of a body that it cannot read: clients and people know these words."""

from __future__ import annotations

from typing import Any

_SPACE = b" \t\r\n"
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_CLOSES = {ord("{"): ord("}"), ord("["): ord("]")}

_AFTER = {ord("{"): "after object key:value pair", ord("["): "after array element"}


class _Wrong(Exception):
    """Where the body is no JSON any more, and what was expected there."""

    def __init__(self, at: int, context: str) -> None:
        super().__init__(context)
        self.at = at
        self.context = context


def syntax_error(body: bytes) -> str:
    """Why the body is no JSON; empty when its syntax is right."""
    try:
        _scan(body)
    except IndexError:
        return "unexpected end of JSON input"
    except _Wrong as wrong:
        return f"invalid character {_quoted(body[wrong.at])} {wrong.context}"
    return ""


def cannot_unmarshal(value: Any, go_type: str, field: str = "") -> str:
    """Why a JSON value is not of a Go type; `field` names the struct and the path of its field."""
    where = f"Go struct field {field}" if field else "Go value"
    number = f" {value}" if go_type.startswith("int") and _overflows(value, go_type) else ""
    return f"json: cannot unmarshal {_word(value)}{number} into {where} of type {go_type}"


def _overflows(value: Any, go_type: str) -> bool:
    """A number that a field of that integer type cannot hold, which is told with it."""
    most = 2**31 if go_type == "int32" else 2**63
    return isinstance(value, float) or (type(value) is int and not -most <= value < most)


def _word(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


_SHORT = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\\": r"\\"}


def quoted(text: str) -> str:
    """As Go's %q shows a text."""
    return '"' + "".join(r"\"" if letter == '"' else _letter(letter) for letter in text) + '"'


def _letter(letter: str) -> str:
    if letter in _SHORT:
        return _SHORT[letter]
    if letter.isprintable():
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _quoted(byte: int) -> str:
    return r"'\''" if byte == ord("'") else f"'{_letter(chr(byte))}'"


def _scan(body: bytes) -> None:
    """Raises _Wrong, and IndexError where the body ends too early. Without recursion: nesting may be as deep as it is long."""
    open_: list[int] = []
    at, value_due = _spaced(body, 0), True
    while value_due or open_:
        if value_due:
            at, value_due = _begun(body, at, open_)
            continue
        at = _spaced(body, at)
        inside, byte = open_[-1], body[at]
        if byte == _CLOSES[inside]:
            open_.pop()
            at += 1
        elif byte == ord(","):
            at = _next(body, _spaced(body, at + 1), inside)
            value_due = True
        else:
            raise _Wrong(at, _AFTER[inside])
    at = _spaced(body, at)
    if at < len(body):
        raise _Wrong(at, "after top-level value")


def _spaced(body: bytes, at: int) -> int:
    while at < len(body) and body[at] in _SPACE:
        at += 1
    return at


def _begun(body: bytes, at: int, open_: list[int]) -> tuple[int, bool]:
    """Past a scalar or an empty container; or inside a container, where a value is due."""
    byte = body[at]
    if byte not in _CLOSES:
        return _scalar(body, at), False
    after = _spaced(body, at + 1)
    if body[after] == _CLOSES[byte]:
        return after + 1, False
    open_.append(byte)
    return _next(body, after, byte), True


def _scalar(body: bytes, at: int) -> int:
    byte = body[at]
    if byte == ord('"'):
        return _string(body, at + 1)
    if byte == ord("-") or byte in _DIGITS:
        return _number(body, at)
    literal = _LITERALS.get(byte)
    if literal is None:
        raise _Wrong(at, "looking for beginning of value")
    for offset in range(1, len(literal)):
        if body[at + offset] != literal[offset]:
            raise _Wrong(at + offset, f"in literal {literal.decode()} (expecting '{chr(literal[offset])}')")
    return at + len(literal)


def _next(body: bytes, at: int, inside: int) -> int:
    """Where the next value of a container begins: in an object, behind its key."""
    if inside == ord("["):
        return at
    if body[at] != ord('"'):
        raise _Wrong(at, "looking for beginning of object key string")
    at = _spaced(body, _string(body, at + 1))
    if body[at] != ord(":"):
        raise _Wrong(at, "after object key")
    return _spaced(body, at + 1)


def _string(body: bytes, at: int) -> int:
    while body[at] != ord('"'):
        if body[at] < 0x20:
            raise _Wrong(at, "in string literal")
        at = _escape(body, at + 1) if body[at] == ord("\\") else at + 1
    return at + 1


def _escape(body: bytes, at: int) -> int:
    if body[at] == ord("u"):
        for digit in range(at + 1, at + 5):
            if body[digit] not in _HEX:
                raise _Wrong(digit, "in \\u hexadecimal character escape")
        return at + 5
    if body[at] not in b'bfnrt\\/"':
        raise _Wrong(at, "in string escape code")
    return at + 1


def _number(body: bytes, at: int) -> int:
    if body[at] == ord("-"):
        at += 1
        if body[at] not in _DIGITS:
            raise _Wrong(at, "in numeric literal")
    at = at + 1 if body[at] == ord("0") else _digits(body, at)
    if body[at : at + 1] == b".":
        at = _needed_digits(body, at + 1, "after decimal point in numeric literal")
    if body[at : at + 1] in (b"e", b"E"):
        at += 2 if body[at + 1] in b"+-" else 1
        at = _needed_digits(body, at, "in exponent of numeric literal")
    return at


def _needed_digits(body: bytes, at: int, context: str) -> int:
    if body[at] not in _DIGITS:
        raise _Wrong(at, context)
    return _digits(body, at)


def _digits(body: bytes, at: int) -> int:
    while at < len(body) and body[at] in _DIGITS:
        at += 1
    return at
