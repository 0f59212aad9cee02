"""The file of tokens: who may use a memory server over HTTP, and for what.

Each table is a principal, the name being its own::

    [alice]
    sha256 = "5e88..."                     # of the token; `botwire mcp token alice` makes both
    namespaces = ["alice", "team/*"]       # the first that is no pattern is meant where none is named
    scopes = ["read", "write"]

A token itself is nowhere in the file. It is compared by its digest, with all digests there are, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from botwire import AsyncMemory, InvalidName, InvalidValue
from botwire.integrations.mcp._callers import READ, WRITE, Principal

logger = logging.getLogger("botwire")

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MEMBERS = {"sha256", "namespaces", "scopes", "expires"}


class _Entry(NamedTuple):
    digest: bytes
    principal: Principal
    expires: datetime | None


class TokenFile:
    """The tokens of a file, read again when it changes: what is taken out of it opens nothing any more.

    Args:
        path: the file.
        locked: whether each principal has its own namespace alone.

    Raises:
        InvalidValue: if the file cannot be read, or something in it is not as it should be; names it.
    """

    def __init__(self, path: Path, *, locked: bool = False) -> None:
        self._path = path
        self._locked = locked
        self._stamp: tuple[int, int, int] | None = None
        self._entries: list[_Entry] = []
        self._load()

    def principal(self, token: str) -> Principal | None:
        """Whose token it is; None if it is nobody's."""
        self._refresh()
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found: Principal | None = None
        for entry in self._entries:  # all of them: how long it takes says nothing
            if hmac.compare_digest(entry.digest, digest) and (entry.expires is None or datetime.now(UTC) < entry.expires):
                found = entry.principal
        return found

    def _refresh(self) -> None:
        try:
            if self._stamp != _stamp(self._path):
                self._load()
        except (OSError, InvalidValue) as error:
            if self._entries:
                logger.error("nobody is let in until the token file is right again: %s", error)  # noqa: TRY400 - it is said in full
            self._entries, self._stamp = [], None

    def _load(self) -> None:
        try:
            self._stamp = _stamp(self._path)
            tables = tomllib.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidValue(f"the token file {str(self._path)!r} cannot be read: {error}") from error
        entries = [entry for name, table in tables.items() for entry in _entries(name, table, self._locked)]
        if not entries:
            raise InvalidValue(f"there is no token in {str(self._path)!r}; `botwire mcp token NAME` makes one")
        if len({entry.digest for entry in entries}) < len(entries):
            raise InvalidValue(f"one token stands twice in {str(self._path)!r}: whose it is would not be known")
        self._entries = entries


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _entries(name: str, table: Any, locked: bool) -> list[_Entry]:
    if not isinstance(table, dict):
        raise InvalidValue(f"{name!r} in the token file must be a table, as [{name}]")
    members = cast("dict[str, Any]", table)
    if unknown := members.keys() - _MEMBERS:
        raise InvalidValue(f"[{name}] in the token file has {sorted(unknown)}, which mean nothing; there are {sorted(_MEMBERS)}")
    digests = members.get("sha256")
    texts = _texts(name, "sha256", [digests] if isinstance(digests, str) else digests)
    if bad := [text for text in texts if not _DIGEST.fullmatch(text)]:
        raise InvalidValue(f"sha256 of [{name}] must be 64 hexadecimal digits in lower case, not {bad[0]!r:.80}")
    principal = _principal(name, members, locked)
    return [_Entry(bytes.fromhex(text), principal, _expires(name, members)) for text in texts]


def _principal(name: str, members: Mapping[str, Any], locked: bool) -> Principal:
    namespaces = _texts(name, "namespaces", members.get("namespaces", [name]))
    for namespace in namespaces:
        start = namespace.removesuffix("*")
        if "*" in start:
            raise InvalidValue(
                f"namespaces of [{name}] in the token file: a * stands at the end, for all that begin so, not in {namespace!r:.80}"
            )
        try:
            AsyncMemory(start or namespace)  # is it one?
        except InvalidName as error:
            raise InvalidValue(f"namespaces of [{name}] in the token file: {error}") from error
    scopes = _texts(name, "scopes", members.get("scopes", [READ, WRITE]))
    if wrong := set(scopes) - {READ, WRITE}:
        raise InvalidValue(f"scopes of [{name}] in the token file must be 'read' and 'write', not {sorted(wrong)}")
    principal = Principal(name, tuple(namespaces), frozenset(scopes), locked)
    if locked and principal.own is None:
        raise InvalidValue(f"namespaces of [{name}] in the token file are patterns alone; with --lock-namespace name one in full")
    return principal


def _texts(name: str, member: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in cast("list[Any]", value)):
        raise InvalidValue(f"{member} of [{name}] in the token file must be a list of texts, with one at least, not {value!r:.80}")
    return cast("list[str]", value)


def _expires(name: str, members: Mapping[str, Any]) -> datetime | None:
    expires = members.get("expires")
    if expires is not None and (not isinstance(expires, datetime) or expires.tzinfo is None):
        raise InvalidValue(f"expires of [{name}] in the token file must be as 2027-01-01T00:00:00Z, with a zone, not {expires!r:.80}")
    return expires


def new_token(name: str, namespaces: list[str], scopes: list[str]) -> tuple[str, str]:
    """A token of 256 random bits, and the table to put into the file for it."""
    token = f"bwm_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(token.encode()).hexdigest()
    lines = [f"[{_toml(name)}]", f'sha256 = "{digest}"', f"namespaces = {_toml_list(namespaces)}", f"scopes = {_toml_list(scopes)}"]
    table = "\n".join(lines) + "\n"
    (entry,) = [entry for key, value in tomllib.loads(table).items() for entry in _entries(key, value, locked=False)]
    assert entry.digest.hex() == digest  # noqa: S101 - what is handed out is what will be let in
    return token, table


def _toml(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]+", text):
        return text
    return _quoted(text)


def _toml_list(texts: list[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
