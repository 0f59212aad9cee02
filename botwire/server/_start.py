"""What a server settles before it answers: whom it lets in, and with which certificate."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from botwire._errors import InvalidValue
from botwire._tokens import TokenBook
from botwire.server._config import read_limits
from botwire.server._gate import Gate, check_admin_token
from botwire.server._service import Authorize, allow_all
from botwire.stores._protocol import Store

ADMIN_TOKEN = "BOTWIRE_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
"""The environment variable that holds a token of its own, for a server in a container: it opens everything, and lies in no store."""


def rule_for(store: Store, *, host: str, loopback: bool, no_auth: bool) -> Authorize:
    """Whom a server lets in.

    Args:
        store: what it serves, where the tokens are.
        host: the address that it listens at.
        loopback: whether that can be reached from this machine alone.
        no_auth: whether the operator says that everybody is to be let in.

    Raises:
        InvalidValue: if strangers could read and write everything, and the operator does not say that they may.
    """
    if no_auth:
        return allow_all
    admin = admin_token()
    if not loopback and admin is None and not TokenBook(store).is_in_use():
        raise InvalidValue(
            f"{host} can be reached from other machines, and there are no tokens: anyone there could read and write everything. Make one "
            f"(`botwire token create`, with the same --url), set {ADMIN_TOKEN}, or listen at 127.0.0.1; or say no_auth=True (--no-auth) "
            "if the network itself keeps strangers out"
        )
    return Gate(store, open_until_first=loopback, admin_token=admin)


def admin_token() -> str | None:
    """What ``BOTWIRE_ADMIN_TOKEN`` holds, or the file that ``BOTWIRE_ADMIN_TOKEN_FILE`` names; None if neither is set.

    Raises:
        InvalidValue: if that cannot be a token.
    """
    text, file = os.environ.get(ADMIN_TOKEN), os.environ.get(f"{ADMIN_TOKEN}_FILE")
    if text is None and file is not None:
        try:
            text = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidValue(f"{ADMIN_TOKEN}_FILE names {file!r}, which cannot be read: {error}") from error
    return None if text is None else check_admin_token(text)


def tokens_asked(authorize: Authorize) -> str:
    """What the line that a server prints says of it."""
    if not isinstance(authorize, Gate):
        return "; NO TOKENS ARE ASKED FOR (--no-auth): whoever can reach it can read, change and delete everything"
    return "" if authorize.is_open() else "; tokens are asked for"


class TLS(NamedTuple):
    """A certificate, with those between it and the authority, and its key: PEM files. The key may be in the certificate's file."""

    certificate: str
    key: str | None = None

    def settings(self) -> dict[str, Any]:
        """Uvicorn's.

        Raises:
            InvalidValue: if they cannot be used.
        """
        for file in (self.certificate, *([] if self.key is None else [self.key])):
            try:
                Path(file).open("rb").close()
            except OSError as error:
                raise InvalidValue(f"{file!r} cannot be read: {error.strerror}") from error
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key, password="")
        except (ssl.SSLError, ValueError) as error:
            reason = f"{self.certificate!r} with the key in {self.key or self.certificate!r} is no certificate to serve with: {error}"
            raise InvalidValue(f"{reason}; both are PEM, and the key has no password") from error
        return {"ssl_certfile": self.certificate, "ssl_keyfile": self.key}


def settings_of(
    config: str | None = None,
    quotas: Sequence[str] = (),
    *,
    tls_cert: str | None = None,
    tls_key: str | None = None,
    forwarded_allow_ips: str | None = None,
    **limits: Any,
) -> dict[str, Any]:
    """What ``serve`` takes, from what the command line gives.

    Args:
        config: a TOML file of limits.
        quotas: rules such as ``team-*:writes_per_day=1000,bytes=50MB``.
        tls_cert: a certificate, PEM.
        tls_key: its key, PEM.
        forwarded_allow_ips: addresses of reverse proxies that are believed.
        limits: of ``read_limits``.

    Raises:
        InvalidValue, InvalidName: if one of them is not what it should be.
    """
    if tls_key is not None and tls_cert is None:
        raise InvalidValue("a key alone is no use: give --tls-cert too")
    tls = None if tls_cert is None else TLS(tls_cert, tls_key)
    return {**read_limits(config, rules=quotas, **limits)._asdict(), "tls": tls, "forwarded_allow_ips": forwarded_allow_ips}
