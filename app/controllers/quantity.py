"""Kubernetes quantities, as far as reservations need them: bytes and milli-CPU, read and written. Pure."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

_FACTORS = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def parse(text: str | int) -> Decimal:
    """`64Mi`, `1500m`, `1e3` or a number. Raises ValueError."""
    written = str(text).strip()
    for suffix in sorted(_FACTORS, key=len, reverse=True):
        if suffix and written.endswith(suffix):
            return _number(written.removesuffix(suffix), written) * _FACTORS[suffix]
    return _number(written, written)


def bytes_of(text: str | int) -> int:
    """Whole bytes."""
    return int(parse(text))


def milli_of(text: str | int) -> int:
    """Thousandths, for CPU."""
    return int(parse(text) * 1000)


def memory_text(size: int) -> str:
    """The shortest exact form with a binary suffix, or plain bytes."""
    for suffix in ("Gi", "Mi", "Ki"):
        factor = int(_FACTORS[suffix])
        if size and size % factor == 0:
            return f"{size // factor}{suffix}"
    return str(size)


def cpu_text(milli: int) -> str:
    """Whole CPUs, or thousandths."""
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def _number(digits: str, written: str) -> Decimal:
    try:
        number = Decimal(digits)
    except InvalidOperation:
        raise ValueError(f"{written!r} is not a quantity") from None
    if not number.is_finite():
        raise ValueError(f"{written!r} is not a quantity")
    return number
