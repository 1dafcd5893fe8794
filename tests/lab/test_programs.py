"""What is missing is told in one line, with the command that mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.lab.errors import LabError
from app.lab.programs import program, require


def test_every_missing_package_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(LabError) as refused:
        require("gcc", "as", "ld", "busybox", path=str(tmp_path))

    message = str(refused.value)
    assert message == "missing programs: apt-get install --no-install-recommends binutils busybox-static gcc"


def test_what_is_there_is_not_asked_for(tmp_path: Path) -> None:
    for name in ("as", "ld"):
        (tmp_path / name).touch(mode=0o755)

    require("as", "ld", path=str(tmp_path))


def test_an_unknown_program_is_refused_by_name() -> None:
    with pytest.raises(LabError, match="no-such-program is missing"):
        program("no-such-program")
