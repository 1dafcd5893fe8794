"""Quantities as Go writes them into a core object: `1024Ki` is `1Mi`, `0.5` is `500m`, thousandths are rounded up to."""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil

WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
WRONG_SUFFIX = "unable to parse quantity's suffix"

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_FORM = re.compile(r"([+-]?)0*([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)")
_EXPONENT = re.compile(r"[eE]([-+]?0*[0-9]{1,5})")
"""Go takes more, and works on one of ten digits for minutes."""
_DIGITS = 18
"""So many fit into an int64: what is written with no more of them, and in thousands, stays as it is written."""
_MOST = 2**63 - 1
LONGEST = 1000
"""Characters. Go takes more; nothing has so much, and the time to read it grows with the square."""


class NotAQuantity(ValueError):
    """In Go's words."""


def canonical(text: str) -> str:
    """Raises NotAQuantity."""
    text = text.strip()
    found = _FORM.fullmatch(text)
    if found is None or not text or len(text) > LONGEST:
        raise NotAQuantity(WRONG)
    sign, whole, part, suffix = found[1], found[2] or "0", found[3] or "", found[4]
    digits, exponent = whole + part, _exponent(suffix)
    if suffix in _BINARY:
        value = Fraction(int(digits), 10 ** len(part)) * 2**exponent
        room = 14 - len(whole) - exponent * 3 // 10
        if not part and room >= 0 and int(digits) & 7:
            return text
        return _signed(sign, _in_binary(min(ceil(value * 1000), _MOST * 1000)))
    scale = exponent - len(part)
    if len(digits) <= _DIGITS and scale >= -3 and scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0":
        return text
    # Thousandths, unless it is whole anyway: no number is as long as its exponent may say.
    amount, power = (int(digits), scale) if scale >= 0 else (_thousandths(int(digits), len(digits), scale), -3)
    return _signed(sign, _in_decimal(amount, power, plain=suffix in _DECIMAL))


def _exponent(suffix: str) -> int:
    """Of ten, or of two."""
    known = _DECIMAL.get(suffix, _BINARY.get(suffix))
    if known is not None:
        return known
    found = _EXPONENT.fullmatch(suffix)
    if found is None:
        raise NotAQuantity(WRONG_SUFFIX)
    return int(found[1])


def _thousandths(amount: int, digits: int, scale: int) -> int:
    """Of `amount` times ten to the power of `scale`, rounded up."""
    return ceil(amount * Fraction(10) ** (max(scale, -digits - 3) + 3))


def _signed(sign: str, number: str) -> str:
    return f"-{number}" if sign == "-" and number != "0" else number


def _in_binary(thousandths: int) -> str:
    amount, part = divmod(thousandths, 1000)
    if amount < 1024 or part:
        return _in_decimal(thousandths, -3, plain=True)
    power = 0
    while amount % 1024 == 0 and power < len(_BINARY):
        amount, power = amount // 1024, power + 1
    return f"{amount}{['', *_BINARY][power]}"


def _in_decimal(amount: int, power: int, *, plain: bool) -> str:
    """With a suffix, or, where it came with an exponent, with one. What is beyond E has no suffix: kube-apiserver writes
    1000E as 1."""
    if not amount:
        return "0"
    amount, power = amount * 10 ** (power % 3), power - power % 3
    while amount % 1000 == 0:
        amount, power = amount // 1000, power + 3
    if not plain:
        return f"{amount}e{power}" if power else str(amount)
    return f"{amount}{next((suffix for suffix, of in _DECIMAL.items() if of == power), '')}"
