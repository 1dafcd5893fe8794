"""Expressions of the Common Expression Language: compiled once, with their types checked, and evaluated within a budget.

The library is the C++ implementation; it bounds how often loops turn, and its regular expressions take linear time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

NAMES = ("object", "oldObject", "request", "namespaceObject", "variables")
"""What an expression can speak of."""
LONGEST = 10_240
"""Characters of one, so that none takes long to read."""


class _Language:
    """The library, once it is needed: it takes 16 MB, and most processes have no expression."""

    def __init__(self) -> None:
        from cel_expr_python import cel
        from cel_expr_python.ext import ext_math, ext_optional, ext_strings

        self.types = {bool: (cel.Type.BOOL, cel.Type.DYN), str: (cel.Type.STRING, cel.Type.DYN)}
        self.error = cel.Type.ERROR
        self.environment = cel.NewEnv(
            variables=dict.fromkeys(NAMES, cel.Type.DYN),
            extensions=[ext_optional.ExtOptional(), ext_strings.ExtStrings(), ext_math.ExtMath()],
        )


_language = cache(_Language)


class ExpressionError(Exception):
    """It cannot be compiled, or evaluated: the text is one line."""


class Expression:
    """One of them, which answers a bool, a text, or (None) anything."""

    def __init__(self, text: str, answers: type | None = bool) -> None:
        """Raises ExpressionError."""
        self.text = text.strip()
        if len(text) > LONGEST:
            raise ExpressionError(f"longer than {LONGEST} characters")
        language = _language()
        try:
            self._compiled = language.environment.compile(text)
        except RuntimeError as error:
            raise ExpressionError(_line(error)) from error
        found = self._compiled.return_type()
        if answers is not None and found not in language.types[answers]:
            raise ExpressionError(f"must answer {answers.__name__}, and answers {found.name().lower()}")

    def speaks_of(self, name: str) -> bool:
        """Perhaps: the name stands in it."""
        return name in self.text

    def evaluated(self, values: Mapping[str, Any]) -> Any:
        """Raises ExpressionError, also where its loops turn too often."""
        try:
            answer = self._compiled.eval(data=values)
        except RuntimeError as error:
            raise ExpressionError(_line(error)) from error
        if answer.type() == _language().error:
            raise ExpressionError(_line(answer.value()))
        return answer.plain_value()


_NOISE = re.compile(r"^(?:[A-Z_]+: )+(?:<input>:)?|\s*\[[A-Z_]+\]$")
"""The library's codes, and its name for where an expression comes from."""


def _line(error: object) -> str:
    """What is wrong, without the picture of where."""
    return _NOISE.sub("", str(error).splitlines()[0])
