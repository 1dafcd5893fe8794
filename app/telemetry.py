"""How logs look: events with fields, said once, by whoever decides. One place sets them up; wiring calls it."""

from __future__ import annotations

import logging
import re
import sys
from functools import partial

import structlog

from app.tracing import with_ids


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
            with_ids,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if form == "json" else _keep,
            partial(_without_secrets, renderer),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries log through the standard module: only what is wrong, in the same stream.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Discreet("%(asctime)s [%(levelname)s] %(name)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


_HIDDEN = (
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@'\"]*:)[^\s@'\"/]+(?=@)"), r"\1***"),
    (re.compile(r"(\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b(password|passwd|pwd|secret|token)=(?!\d+\b)[^\s&'\",)]+", re.IGNORECASE), r"\1=***"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), "***"),
    (re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END|\Z)", re.DOTALL), r"\1***\2"),
)
"""What a line may not say. Nobody logs secrets; libraries quote what they were given when it is wrong."""


def discreet(text: str) -> str:
    """The text without passwords in URLs, credentials, and private keys."""
    for pattern, instead in _HIDDEN:
        text = pattern.sub(instead, text)
    return text


def _without_secrets(
    renderer: structlog.typing.Processor,
    logger: structlog.typing.WrappedLogger,
    name: str,
    event: structlog.typing.EventDict,
) -> str:
    return discreet(str(renderer(logger, name, event)))


class _Discreet(logging.Formatter):
    """Of the standard module's records, tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return discreet(super().format(record))


def _keep(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return event
