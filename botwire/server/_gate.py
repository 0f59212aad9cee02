"""Who is let in: the token of a request, what it opens, and what is answered where it opens nothing.

A token is looked up in the store and then trusted for ``TRUST_SECONDS``, so that the check costs next to nothing; that is
how long, at most, one that was revoked through another process still opens something. A revocation through this
process counts at once. Nothing is kept of those that open nothing: a new token is known at its first use.

While it is trusted, a token is known by its header as it came: one lookup, where a digest for each request took as long as
the rest of the check. Python compares the bytes of two keys only once their hashes, which are keyed with a secret of the
process, are equal, so the time of a lookup tells nothing of the headers that are known. What is not known there is hashed
and compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from botwire._errors import InvalidValue
from botwire._tokens import EVERY, Patterns, Token, TokenBook, digest_of, id_of, wall_clock
from botwire.server._problems import Hidden, HTTPProblem
from botwire.stores._protocol import Store

if TYPE_CHECKING:
    from botwire.server._service import Action

TRUST_SECONDS = 0.9
"""How long a token is trusted once it was looked up."""

REFUSED_SECONDS = 0.05
"""How long it is remembered that nobody has a token, where asking the store takes a thread: for one request."""

MOST_REMEMBERED = 10_000
MIN_ADMIN_CHARS = 32

HeaderMap = Mapping[bytes, bytes]
_CHALLENGE = (b"www-authenticate", b'Bearer realm="botwire"')
_BAD_TOKEN = (b"www-authenticate", b'Bearer realm="botwire", error="invalid_token"')
_TOO_LITTLE = (b"www-authenticate", b'Bearer realm="botwire", error="insufficient_scope"')


class Grant(NamedTuple):
    """What a token opens."""

    id: str
    seen: Patterns
    scopes: frozenset[str]
    expires_at: int | None


EVERYTHING: Final = Grant("", EVERY, frozenset(("read", "write", "admin")), None)
"""What is open to anyone while a server asks for no tokens."""


class Gate:
    """The guard of one server process. Called with a request's headers, its namespace and what is to be done there.

    Args:
        store: the store that is served, which holds the tokens.
        open_until_first: whether everybody may do everything as long as no token was ever made for the store. Once one
            was, it is asked for, within ``TRUST_SECONDS``, and stays so.
        admin_token: the text of a token that is not in the store and opens everything: to make the first one with.
        clock: microseconds since 1970.
    """

    def __init__(
        self, store: Store, *, open_until_first: bool = False, admin_token: str | None = None, clock: Callable[[], int] = wall_clock
    ) -> None:
        self._book = TokenBook(store)
        self._clock = clock
        self._admin = None if admin_token is None else bytes.fromhex(digest_of(check_admin_token(admin_token)))
        self._may_be_open = open_until_first and admin_token is None
        self._open_until = 0.0
        self._trusted: dict[bytes, tuple[float, Grant]] = {}
        self._tidy_at = 0.0
        self._refused: dict[bytes, float] = {}

    def __call__(self, headers: HeaderMap, namespace: str | None, action: Action) -> None:
        """Let a request go on, or not.

        Raises:
            HTTPProblem: 401 without a token that is known, 403 where it does not allow to write or administer.
            Hidden: where it does not allow to read: to be answered as if there were nothing.
        """
        grant = self.grant(headers)
        if namespace is not None and not grant.seen.match(namespace):
            if action == "read":
                raise Hidden
            raise _may_not(f"this token does not open namespace {namespace!r} for writing")
        if action not in grant.scopes:
            what = (
                "this takes a token with the scope admin"
                if namespace is None
                else f"this token does not open namespace {namespace!r} for writing"
            )
            raise _may_not(what)

    def seen(self, headers: HeaderMap) -> Patterns:
        """The namespaces that a request may know of."""
        return self.grant(headers).seen

    def grant(self, headers: HeaderMap) -> Grant:
        """What a request's token opens; looked up in the store if it was not lately.

        Raises:
            HTTPProblem: 401.
        """
        given = headers.get(b"authorization")
        if given is None:
            if self.is_open():
                return EVERYTHING
            raise HTTPProblem(
                401,
                "unauthorized",
                "this server asks for a token: give token= or set BOTWIRE_TOKEN; over HTTP, send the header Authorization: Bearer bw_...",
                _CHALLENGE,
            )
        trusted = self._trusted.get(given)
        if trusted is not None and trusted[0] > monotonic():
            grant = trusted[1]
            if grant.expires_at is None or grant.expires_at > self._clock():
                return grant
        return self._look_up(given)

    def known(self, headers: HeaderMap) -> Grant | None:
        """What a request's token opens; None if there is none, or nobody has it."""
        try:
            return self.grant(headers)
        except HTTPProblem:
            return None

    def warm_up(self, headers: HeaderMap) -> None:
        """Ask the store, on a thread where that may take long, so that ``grant`` need not for the rest of this request."""
        given = headers.get(b"authorization")
        if given is None:
            self.is_open()
        elif self.known(headers) is None:
            if len(self._refused) >= MOST_REMEMBERED:
                self._refused.clear()
            self._refused[_digest(given)] = monotonic() + REFUSED_SECONDS

    def is_fresh(self, headers: HeaderMap) -> bool:
        """Whether ``grant`` has an answer without asking the store."""
        given = headers.get(b"authorization")
        if given is None:
            return not self._may_be_open or self._open_until > monotonic()
        trusted = self._trusted.get(given)
        return (trusted is not None and trusted[0] > monotonic()) or self._is_refused(given)

    def _is_refused(self, given: bytes) -> bool:
        return bool(self._refused) and self._refused.get(_digest(given), 0.0) > monotonic()

    def is_open(self) -> bool:
        """Whether no token is asked for."""
        if self._may_be_open and self._open_until <= (now := monotonic()):
            self._may_be_open = not self._book.is_in_use()
            self._open_until = now + TRUST_SECONDS  # from before the look
        return self._may_be_open

    def forget(self) -> None:
        """Look all tokens up again: one was made or revoked."""
        self._trusted.clear()
        self._open_until = 0.0

    def _look_up(self, given: bytes) -> Grant:
        if self._is_refused(given):
            raise _nobodys()
        now = monotonic()  # from before the look
        if now >= self._tidy_at or len(self._trusted) >= MOST_REMEMBERED:
            self._tidy(now)
        grant = self._find(given)
        if grant is None:
            self._trusted.pop(given, None)
            if self.is_open():  # a client that has a token set for another server
                return EVERYTHING
            raise _nobodys()
        self._trusted[given] = (now + TRUST_SECONDS, grant)
        return grant

    def _tidy(self, now: float) -> None:
        """Forget the tokens that are no longer trusted: their texts have no business in the memory of a process."""
        trusted = {header: kept for header, kept in list(self._trusted.items()) if kept[0] > now}
        self._trusted = trusted if len(trusted) < MOST_REMEMBERED else {}
        self._tidy_at = now + TRUST_SECONDS

    def _find(self, given: bytes) -> Grant | None:
        kind, _, rest = given.partition(b" ")
        text = rest.strip(b" ").decode("latin-1")
        if kind.lower() != b"bearer" or not text:
            return None
        digest = hashlib.sha256(text.encode()).digest()
        if self._admin is not None and hmac.compare_digest(digest, self._admin):
            return EVERYTHING._replace(id="BOTWIRE_ADMIN_TOKEN")
        token_id = id_of(text)
        token = None if token_id is None else self._book.find(token_id)
        if token is None or not hmac.compare_digest(digest.hex(), token.hash) or token.is_expired(self._clock()):
            return None
        return _grant_of(token)


def _may_not(what: str) -> HTTPProblem:
    return HTTPProblem(
        403, "unauthorized", f"{what}; whoever runs the server can make one that does, with `botwire token create`", _TOO_LITTLE
    )


def _nobodys() -> HTTPProblem:
    return HTTPProblem(401, "unauthorized", "nobody has this token: it was revoked, has expired, or never was", _BAD_TOKEN)


def _grant_of(token: Token) -> Grant:
    return Grant(token.id, Patterns.of(token.namespaces), frozenset(token.scopes), token.expires_at)


def _digest(header: bytes) -> bytes:
    """What a header that opens nothing is remembered by, however long it is."""
    return hashlib.sha256(header).digest()


def check_admin_token(text: str) -> str:
    """Return ``BOTWIRE_ADMIN_TOKEN`` if it can be one.

    Raises:
        InvalidValue: if it is so short that it could be guessed, or cannot travel in a header.
    """
    if len(text) < MIN_ADMIN_CHARS or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidValue(
            f"BOTWIRE_ADMIN_TOKEN must be at least {MIN_ADMIN_CHARS} printable ASCII characters without spaces, chosen at random: "
            "`openssl rand -hex 32` prints some"
        )
    return text
