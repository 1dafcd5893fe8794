"""Quantities: `64Mi`, `500m`, `1.5G`. Text in, exact numbers out."""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil

PATTERN = r"^[0-9]{1,19}(\.[0-9]{0,9})?(n|u|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|[eE][+-]?[0-9]{1,2})?$"
"""A quantity that is not negative. Bounded, so that arithmetic on what a client sent stays cheap."""

_QUANTITY = re.compile(r"(?P<number>[0-9]{1,19}(\.[0-9]{0,9})?)(?P<suffix>[a-zA-Z]{0,2}|[eE][+-]?[0-9]{1,2})")

_FACTORS = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(10 ** (3 * power)) for power, suffix in enumerate(["k", "M", "G", "T", "P", "E"], start=1)},
    **{f"{s}i": Fraction(1024**power) for power, s in enumerate(["K", "M", "G", "T", "P", "E"], start=1)},
}


class NotAQuantity(ValueError):
    """The text is no quantity, or one that is out of range."""


def parse(text: str) -> Fraction:
    """The exact value. Raises NotAQuantity."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise NotAQuantity(f"{text!r} is not a quantity such as 64Mi, 2G or 500m")
    suffix = found["suffix"]
    number = Fraction(found["number"].rstrip("."))
    if suffix in _FACTORS:
        return number * _FACTORS[suffix]
    if re.fullmatch(r"[eE][+-]?[0-9]{1,2}", suffix):
        return number * Fraction(10) ** int(suffix[1:])
    raise NotAQuantity(f"{text!r} has an unknown suffix: use one of {', '.join(filter(None, _FACTORS))}")


def whole(text: str) -> int:
    """Bytes, or whatever is counted, rounded up as Kubernetes does. Raises NotAQuantity."""
    return _up(parse(text))


def milli(text: str) -> int:
    """Thousandths, rounded up: `500m` is 500, `2` is 2000. Raises NotAQuantity."""
    return _up(parse(text) * 1000)


def _up(value: Fraction) -> int:
    return ceil(value)


def binary(size: int) -> str:
    """Bytes as a quantity, in the largest binary unit that is exact: 67108864 is `64Mi`."""
    for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
        factor = int(_FACTORS[suffix])
        if size and size % factor == 0:
            return f"{size // factor}{suffix}"
    return str(size)


def millis(thousandths: int) -> str:
    """Thousandths as a quantity: 500 is `500m`, 2000 is `2`."""
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"
