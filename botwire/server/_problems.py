"""Answers that tell of an error: problem documents (RFC 9457), made in one place."""

from __future__ import annotations

import logging
from math import ceil

from botwire import _wire
from botwire._errors import BotWireError, QuotaExceeded, StoreBusy, VersionConflict
from botwire.server._limits import limit_headers

logger = logging.getLogger("botwire.server")

Headers = list[tuple[bytes, bytes]]
Reply = tuple[int, Headers, bytes]
"""Status, headers and body of an answer."""

RETRY_SECONDS = 1
"""What a client is told to wait when the store is busy."""

_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")


class HTTPProblem(Exception):
    """A request that HTTP itself has an answer for, rather than the store.

    Args:
        status: the HTTP status.
        code: the stable name of the problem.
        detail: what is wrong, and what to do.
        headers: what else the answer carries.
    """

    def __init__(self, status: int, code: str, detail: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = headers


class Hidden(Exception):
    """What the request asks for is not for its caller: to be answered as if it did not exist."""


class Disconnected(Exception):
    """The client went away before it had sent its request."""


def not_found(detail: str) -> HTTPProblem:
    return HTTPProblem(404, "not_found", detail)


def no_route() -> HTTPProblem:
    return HTTPProblem(404, "no_such_route", "there is no such route; see /docs. A '/' inside a name is sent as %2F")


def method_not_allowed(allowed: str) -> HTTPProblem:
    return HTTPProblem(405, "method_not_allowed", f"this route takes {allowed}", (b"allow", allowed.encode()))


def body_too_large(limit: int) -> HTTPProblem:
    return HTTPProblem(413, "value_too_large", f"the body is over this server's limit of {limit:,} bytes; split it over several requests")


def json_reply(body: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    """A good answer."""
    return 200, [_JSON, (b"content-length", str(len(body)).encode()), *headers], body


def reply_to(error: Exception, request_id: str) -> Reply:
    """The answer that tells of an error. What nobody foresaw is logged, and told without its details.

    Its member ``instance`` (RFC 9457 section 3.1.5) holds the request's id, under which the log has the same request.
    """
    status, headers, body = _reply_to(error, request_id)
    body = body[:-1] + b',"instance":"urn:botwire:request:%s"}' % request_id.encode()
    return status, [_PROBLEM, (b"content-length", str(len(body)).encode()), *headers], body


def _reply_to(error: Exception, request_id: str) -> Reply:
    if isinstance(error, HTTPProblem):
        body = _wire.problem(error.status, error.code, error.code.replace("_", " "), str(error))
        return error.status, [*error.headers], body
    if isinstance(error, BotWireError):
        status, body = _wire.problem_of(error)
        return status, _extra_headers(error), body
    logger.error("request %s failed in a way nobody foresaw", request_id, exc_info=error)
    body = _wire.problem(500, "internal_error", "internal error", "the server failed to answer; its log says why")
    return 500, [], body


def _extra_headers(error: BotWireError) -> Headers:
    if isinstance(error, QuotaExceeded) and error.retry_after is not None:
        return [(b"retry-after", str(max(1, ceil(error.retry_after))).encode()), *limit_headers(error)]
    if isinstance(error, StoreBusy):
        return [(b"retry-after", str(RETRY_SECONDS).encode())]
    if isinstance(error, VersionConflict) and error.current:
        return [(b"etag", _wire.etag(error.current).encode())]
    return []
