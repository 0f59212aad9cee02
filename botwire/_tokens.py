"""Tokens: who may do what through a server. They lie in the store that is served, so that all its servers know them at once.

A token is written ``bw_<id>_<secret>``: a fixed beginning that scanners for leaked secrets can look for, an id to find
and name it by, and 256 random bits. The store holds a plain SHA-256 of the whole: a slow hash with salt protects
passwords, which can be guessed from a dictionary; of 256 random bits there is none, and the check stays cheap enough
for every request.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import string
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from botwire._codec import encode
from botwire._errors import BotWireError, InvalidValue, StoreCorrupt, shown
from botwire._names import RESERVED_NAMESPACE, check_name, check_prefix
from botwire._wire import time_from_iso, time_to_iso
from botwire.stores._protocol import Batch, Delete, EntryRow, Set, Store

SCOPES = ("read", "write", "admin")
"""What a token may be for: to read, to write, or everything: all namespaces, the tokens, and the store as a whole."""

MAX_LABEL_CHARS = 200
LABEL_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
_LABEL = re.compile(rf"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{{0,{MAX_LABEL_CHARS}}}").fullmatch
_KEY = "token:"
_REQUIRED = "auth"  # an entry of this key says that tokens are asked for; it stays when the last one is revoked
_ID_CHARS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that are taken for one another
_PAGE = 1_000
_SECRET_CHARS = string.ascii_letters + string.digits  # no punctuation: a double click takes the whole token
_SECRET_LENGTH = 43  # 256 bits
_TEXT = re.compile(rf"bw_([{_ID_CHARS}]{{8}})_[A-Za-z0-9]{{{_SECRET_LENGTH}}}")


class Patterns(NamedTuple):
    """Namespaces, by name (``team-a``) or by how they begin (``team-*``; ``*`` for all)."""

    names: frozenset[str]
    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Patterns:
        """From their texts, as ``check_patterns`` returns them."""
        listed = list(texts)
        return cls(
            frozenset(text for text in listed if not text.endswith("*")),
            tuple(sorted(text[:-1] for text in listed if text.endswith("*"))),
        )

    def match(self, namespace: str) -> bool:
        """Whether a namespace is one of them."""
        return namespace in self.names or namespace.startswith(self.prefixes)


EVERY = Patterns(frozenset(), ("",))


def check_patterns(patterns: object, what: str = "namespaces") -> tuple[str, ...]:
    """Return patterns of namespaces if they are some.

    Raises:
        InvalidValue, InvalidName: if one has a ``*`` elsewhere than at its end, or could match nothing.
    """
    if isinstance(patterns, str) or not isinstance(patterns, Sequence) or not patterns:
        raise InvalidValue(
            f"{what} must be a list of at least one name or pattern, such as ['team-a', 'ci-*'], not {shown(cast('object', patterns))}"
        )
    for pattern in cast("Sequence[object]", patterns):
        is_prefix = isinstance(pattern, str) and pattern.endswith("*")
        start = check_prefix(cast("str", pattern)[:-1]) if is_prefix else check_name(pattern, "namespace")
        if "*" in start:
            raise InvalidValue(f"a namespace pattern has one '*', at its end, for all that begin so; not {shown(pattern)}")
        if pattern == RESERVED_NAMESPACE:
            raise InvalidValue(f"no token opens {RESERVED_NAMESPACE!r}: it is the server's own")
    return tuple(dict.fromkeys(cast("Sequence[str]", patterns)))


class Token(NamedTuple):
    """What is known of a token: all but its text."""

    id: str
    label: str
    namespaces: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at: int  # microseconds since 1970
    expires_at: int | None
    hash: str  # SHA-256 of its text, in hexadecimal

    def is_expired(self, now: int) -> bool:
        """Whether it opens nothing any more."""
        return self.expires_at is not None and self.expires_at <= now

    def to_dict(self) -> dict[str, Any]:
        """For people and programs: without the hash."""
        return {
            "id": self.id,
            "label": self.label,
            "namespaces": list(self.namespaces),
            "scopes": list(self.scopes),
            "created_at": time_to_iso(self.created_at),
            "expires_at": None if self.expires_at is None else time_to_iso(self.expires_at),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], digest: str = "") -> Token:
        """From ``to_dict``."""
        expires_at = record["expires_at"]
        return cls(
            str(record["id"]),
            str(record["label"]),
            tuple(map(str, record["namespaces"])),
            tuple(map(str, record["scopes"])),
            time_from_iso(record["created_at"]),
            None if expires_at is None else time_from_iso(expires_at),
            digest,
        )


def id_of(text: str) -> str | None:
    """The id in a token's text; None if that cannot be one."""
    found = _TEXT.fullmatch(text)
    return None if found is None else found[1]


def digest_of(text: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(text.encode()).hexdigest()


def wall_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


def make_token(
    *,
    namespaces: object = None,
    scopes: object = ("read", "write"),
    expires_in: float | None = None,
    label: object = "",
    now: int | None = None,
) -> tuple[str, Token]:
    """A new token: its text, which is nowhere else, and what is known of it.

    Args:
        namespaces: names and patterns; left out for an admin token, which opens all.
        scopes: of ``read``, ``write`` and ``admin``.
        expires_in: seconds until it opens nothing any more; None for never.
        label: what it is for, for people.
        now: microseconds since 1970.

    Raises:
        InvalidValue, InvalidName: if it would be no use, or more use than it seems.
    """
    scopes = _check_scopes(scopes)
    if "admin" in scopes:
        if namespaces not in (None, ["*"], ("*",)):
            raise InvalidValue("an admin token opens all namespaces, since it can make tokens for them: leave the namespaces out")
        namespaces = ["*"]
    if not isinstance(label, str) or not _LABEL(label):
        raise InvalidValue(f"a token's label must be text of at most {MAX_LABEL_CHARS} characters, without control characters")
    if expires_in is not None and not 0 < expires_in < 1e10:
        raise InvalidValue(f"expires_in must be seconds over zero, not {shown(expires_in)}")
    created_at = wall_clock() if now is None else now
    token_id = "".join(secrets.choice(_ID_CHARS) for _ in range(8))
    text = f"bw_{token_id}_{''.join(secrets.choice(_SECRET_CHARS) for _ in range(_SECRET_LENGTH))}"
    expires_at = None if expires_in is None else created_at + round(expires_in * 1_000_000)
    return text, Token(token_id, label, check_patterns(namespaces), scopes, created_at, expires_at, digest_of(text))


def _check_scopes(scopes: object) -> tuple[str, ...]:
    if isinstance(scopes, str) or not isinstance(scopes, Sequence) or not scopes:
        raise InvalidValue(f"scopes must be a list of {', '.join(SCOPES)}, not {shown(cast('object', scopes))}")
    given = cast("Sequence[object]", scopes)
    if unknown := [scope for scope in given if scope not in SCOPES]:
        raise InvalidValue(f"there is no scope {shown(unknown[0])}; there are {', '.join(SCOPES)}")
    if "admin" in given:
        return SCOPES
    if "read" not in given:
        raise InvalidValue("the scope write needs read as well: what a merge or a pop answers is what is stored")
    return tuple(scope for scope in SCOPES if scope in given)


class TokenBook:
    """The tokens of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def is_in_use(self) -> bool:
        """Whether a token was ever made for this store: from then on its servers ask for one."""
        return self._store.get(RESERVED_NAMESPACE, _REQUIRED) is not None

    def find(self, token_id: str) -> Token | None:
        """The token of that id, expired or not."""
        row = self._store.get(RESERVED_NAMESPACE, _KEY + token_id)
        return None if row is None else _read(row)

    def list(self) -> list[Token]:
        """All of them, oldest first."""
        found: list[Token] = []
        after: str | None = None
        while rows := self._store.scan(RESERVED_NAMESPACE, _KEY, after, _PAGE):
            found += map(_read, rows)
            after = rows[-1].key
        return sorted(found, key=lambda token: (token.created_at, token.id))

    def add(self, token: Token) -> None:
        """Keep a token; servers know it at once.

        Raises:
            BotWireError: if the store does not.
        """
        self._write(self.addition(token))

    def revoke(self, token_id: str) -> bool:
        """Remove a token; whether there was one."""
        return bool(self._write(self.removal(token_id))[0])

    @staticmethod
    def addition(token: Token) -> tuple[Set, ...]:
        """What keeps a token, in the reserved namespace."""
        value = encode({**token.to_dict(), "hash": token.hash}, "the token")
        return Set(_KEY + token.id, value, if_version=0), Set(_REQUIRED, "true")

    @staticmethod
    def removal(token_id: str) -> tuple[Delete, ...]:
        """What removes one; the first result says whether there was one."""
        return (Delete(_KEY + token_id),)

    def _write(self, operations: tuple[Set | Delete, ...]) -> list[Any]:
        outcome = self._store.write((Batch(RESERVED_NAMESPACE, operations),))[0]
        if isinstance(outcome, BotWireError):
            raise outcome
        return outcome


def _read(row: EntryRow) -> Token:
    try:
        record = json.loads(row.value)
        return Token.from_dict(record, str(record["hash"]))
    except (ValueError, TypeError, LookupError) as error:
        raise StoreCorrupt(f"the token {row.key!r} in namespace {RESERVED_NAMESPACE!r} cannot be read; revoke it") from error


def namespaces_seen(store: Store, seen: Patterns, after: str | None, limit: int) -> list[str]:
    """As ``Store.namespaces``, of those that somebody may see alone; without reading through all the others."""
    found: list[str] = []
    for start, is_prefix in _ranges(seen):
        if len(found) >= limit:
            break
        if is_prefix:
            found += _in_range(store, start, after, limit - len(found))
        elif (after is None or start > after) and _holds_anything(store, start):
            found.append(start)
    return found


def _ranges(seen: Patterns) -> list[tuple[str, bool]]:
    """Disjoint ranges in code point order: a prefix, or one name."""
    prefixes = [one for one in seen.prefixes if not any(one != other and one.startswith(other) for other in seen.prefixes)]
    names = [name for name in seen.names if not name.startswith(tuple(prefixes))]
    return sorted([*((prefix, True) for prefix in set(prefixes)), *((name, False) for name in names)])


def _in_range(store: Store, prefix: str, after: str | None, limit: int) -> list[str]:
    found: list[str] = []
    if prefix and (after is None or prefix > after):
        found += [prefix] if _holds_anything(store, prefix) else []
        after = prefix
    while len(found) < limit:
        wanted = limit - len(found) + 1  # one more, for the reserved one
        page = store.namespaces(after, wanted)
        found += [name for name in page if name.startswith(prefix) and name != RESERVED_NAMESPACE]
        if len(page) < wanted or not page[-1].startswith(prefix):
            break
        after = page[-1]
    return found[:limit]


def _holds_anything(store: Store, namespace: str) -> bool:
    if namespace == RESERVED_NAMESPACE or not namespace:
        return False
    return bool(store.scan_keys(namespace, "", None, 1) or store.scan_logs(namespace, None, 1))
