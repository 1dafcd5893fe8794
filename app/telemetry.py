"""How logs look: events with fields, said once, by whoever decides. One place sets them up; wiring calls it."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logging(form: str) -> None:
    """`console` for people, `json` for machines; both to standard error, so that standard output stays the command's own."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if form == "json" else _keep,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries log through the standard module: only what is wrong, in the same stream.
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s [%(levelname)s] %(name)s %(message)s"
    )


def _keep(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return event
