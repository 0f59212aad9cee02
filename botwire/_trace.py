"""OpenTelemetry's spans, where the program has loaded it. Where it has not, nothing is imported and nothing is done.

A program that records spans has set OpenTelemetry up, and so has loaded it: there is nothing to try to import. Spans say what
was called and how it ended, never a key, a value, a session or a message; an error is told by its code, since its text names keys.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, Literal, cast

from botwire._errors import BotWireError
from botwire._version import __version__

_API = "opentelemetry.trace"
_NOTHING = nullcontext()
Kind = Literal["CLIENT", "SERVER", "INTERNAL"]


def is_on() -> bool:
    """Whether spans may be recorded."""
    return _API in sys.modules


@cache
def _tracer() -> Any:
    return sys.modules[_API].get_tracer("botwire", __version__)  # before the program sets up a provider, one that asks for it later


def span(name: str, kind: Kind = "INTERNAL", **attributes: Any) -> AbstractContextManager[Any]:
    """A span around a ``with`` block, or nothing. Gives the span, or None.

    Args:
        name: what is called, of few different ones.
        kind: whose side of a call it is.
        attributes: what is known before, dots in their names written as ``__``.
    """
    return _span(name, kind, attributes) if is_on() else _NOTHING


@contextmanager
def _span(name: str, kind: Kind, attributes: Mapping[str, Any]) -> Generator[Any]:
    started = _tracer().start_span(name, kind=_kind(kind), attributes={key.replace("__", "."): value for key, value in attributes.items()})
    try:
        with sys.modules[_API].use_span(started, record_exception=False, set_status_on_exception=False):
            yield started
    except BaseException as error:
        set_error(started, error)
        raise
    finally:
        started.end()


def begin_server(method: str, headers: Mapping[bytes, bytes]) -> tuple[Any, Any]:
    """The span of a request that came in, joined to the caller's by its headers; and what ``end_server`` needs.

    The caller's place is in the header ``traceparent`` (W3C Trace Context), unless the program has other propagators.
    """
    from opentelemetry import context, propagate

    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
    parent = propagate.extract(carrier)
    started = _tracer().start_span(method, context=parent, kind=_kind("SERVER"), attributes={"http.request.method": method})
    return started, context.attach(sys.modules[_API].set_span_in_context(started, parent))


def end_server(started: Any, token: Any, method: str, route: str, status: int, request_id: str) -> None:
    """Say how a request ended."""
    from opentelemetry import context

    started.update_name(f"{method} {route}")
    started.set_attributes({"http.route": route, "http.response.status_code": status, "botwire.request_id": request_id})
    if status >= 500:
        started.set_attribute("error.type", str(status))
        started.set_status(_status().ERROR)
    started.end()
    context.detach(token)


def headers() -> dict[str, str]:
    """The headers that let a server join its span to the present one; none without OpenTelemetry."""
    if not is_on():
        return {}
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def set_error(started: Any, error: BaseException) -> None:
    """Mark a span as failed; None is no span."""
    if started is not None:
        started.set_attribute("error.type", error.code if isinstance(error, BotWireError) else type(error).__name__)
        started.set_status(_status().ERROR)


def told(started: Any, answer: Any) -> Any:
    """The answer of a store's call; outcomes of writes that failed mark the span."""
    outcomes = cast("list[Any]", answer) if started is not None and isinstance(answer, list) else []
    failed = next((outcome for outcome in outcomes if isinstance(outcome, BotWireError)), None)
    if failed is not None:
        set_error(started, failed)
    return cast("Any", answer)


def _kind(kind: Kind) -> Any:
    return getattr(sys.modules[_API].SpanKind, kind)


def _status() -> Any:
    return sys.modules[_API].StatusCode
