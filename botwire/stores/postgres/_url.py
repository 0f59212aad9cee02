"""What a store's URL says: to libpq, and to botwire."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from botwire._errors import InvalidValue

SCHEMA = "botwire"
CONNECTIONS = 16
"""The most connections of one store; one more for whoever listens."""
_SECRET = ("password", "sslpassword")
_SHAPE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}").fullmatch


class Place(NamedTuple):
    """Where a store is."""

    conninfo: str
    shown: str
    schema: str
    partitions: int
    connections: int


def parse(url: str, timeout: float) -> Place:
    """Take a URL apart.

    Raises:
        InvalidValue: if libpq would not take it, or an option of botwire's is wrong. The message has no password.
    """
    base, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    schema = options.pop("schema", SCHEMA)
    if not _SHAPE(schema) or schema.startswith("pg_"):
        raise InvalidValue(f"the schema {schema!r:.80} in the URL must be a plain name of up to 48 letters, digits and underscores")
    partitions = _number(options.pop("partitions", "0"), "partitions", 0, 1_024)
    connections = _number(options.pop("connections", str(CONNECTIONS)), "connections", 1, 1_000)
    scheme, _, rest = base.partition("://")
    rest = f"{scheme.lower()}://{rest}" + ("?" + urlencode(options, quote_via=quote) if options else "")
    try:
        known = conninfo_to_dict(rest)
    except ProgrammingError:
        raise InvalidValue("the URL of the store is not one that libpq takes: postgresql://user:password@host:port/database?...") from None
    shown = "postgresql://" + _shown(known) + ("" if schema == SCHEMA else f"?schema={schema}")
    known.setdefault("connect_timeout", str(max(2, min(10, round(timeout)))))
    known.setdefault("application_name", "botwire")
    known.setdefault("client_encoding", "UTF8")
    return Place(make_conninfo("", **known), shown, schema, partitions, connections)


def _number(text: str, what: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise InvalidValue(f"{what} in the URL must be a number from {least} to {most}, not {text!r:.40}")
    return int(text)


def _shown(known: Mapping[str, object]) -> str:
    """User, hosts and database: never a password."""
    hosts = str(known.get("host") or known.get("hostaddr") or "").split(",")
    ports = str(known.get("port") or "").split(",")
    if len(ports) != len(hosts):
        ports = ports * len(hosts) if len(ports) == 1 else [""] * len(hosts)
    places = [f"{'' if host.startswith('/') else host}{f':{port}' if port else ''}" for host, port in zip(hosts, ports, strict=True)]
    user = known.get("user")
    return f"{quote(str(user)) + '@' if user else ''}{','.join(places)}/{quote(str(known.get('dbname') or ''))}"
