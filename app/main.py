"""The entry points: `drover` for the shell, create_app() for an ASGI server.

Imports nothing heavy: every migration process imports this module again when it starts.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.wiring.service import Application


def cli() -> None:
    """The `drover` command."""
    from app.commands import main

    sys.exit(main())


def create_app() -> Application:
    """The ASGI application, for `uvicorn --factory app.main:create_app`; settings come from DROVER_* variables."""
    from app.settings import Settings
    from app.wiring.service import Application

    return Application(Settings())


if __name__ == "__main__":
    cli()
