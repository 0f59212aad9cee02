"""What a URL says: where the servers are, how to get in, and what is asked of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from botwire._errors import InvalidValue

Address = tuple[str, int]

SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
_OPTIONS = {
    "prefix": "bw:",
    "wait": "0",
    "wait_timeout": "1",
    "ssl_ca_certs": "",
    "ssl_certfile": "",
    "ssl_keyfile": "",
    "ssl_check_hostname": "true",
    "sentinel_username": "",
    "sentinel_password": "",
}
_SENTINEL_PORT = 26_379
_PORT = 6_379
_MOST_REPLICAS = 100


@dataclass(frozen=True)
class Settings:
    """One URL, taken apart. ``shown`` is the URL for people, without passwords."""

    shown: str
    kind: str
    """``single``, ``cluster`` or ``sentinel``."""
    hosts: tuple[Address, ...]
    service: str
    database: int
    timeout: float
    prefix: str
    wait: int
    wait_timeout: float
    credentials: dict[str, Any] = field(repr=False)
    sentinel_credentials: dict[str, Any] = field(repr=False)
    tls: dict[str, Any] | None = field(repr=False)


def parse(url: str, timeout: float) -> Settings:
    """Take a URL apart.

    Raises:
        InvalidValue: if it cannot be one; the message has no password in it.
    """
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    user, at, hosts = authority.rpartition("@")
    kind = scheme.lower().partition("+")[2] or "single"
    if scheme.lower() not in SCHEMES:
        raise InvalidValue(f"a Redis URL begins with one of {', '.join(f'{name}://' for name in SCHEMES)}")
    addresses = _addresses(hosts, _SENTINEL_PORT if kind == "sentinel" else _PORT)
    options = _options(query)
    parts = [unquote(part) for part in path.split("/") if part]
    service = parts.pop(0) if kind == "sentinel" and parts else ""
    if kind == "sentinel" and not service:
        raise InvalidValue("a sentinel URL names the service: redis+sentinel://host:port,host:port/service")
    if kind == "single" and len(addresses) != 1:
        raise InvalidValue("redis:// takes one server; a Cluster is redis+cluster://host:port,host:port")
    shown = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses)
    open_options = "&".join(f"{name}={options[name]}" for name in ("prefix", "wait") if options[name] != _OPTIONS[name])
    tail = "".join(f"/{part}" for part in ([service] if service else []) + parts) + (f"?{open_options}" if open_options else "")
    secure = scheme.lower().startswith("rediss")
    return Settings(
        shown=f"{scheme.lower()}://{shown}{tail}",
        kind=kind,
        hosts=addresses,
        service=service,
        database=_database(parts, kind),
        timeout=timeout,
        prefix=_prefix(options["prefix"]),
        wait=_number(options["wait"], "wait", _MOST_REPLICAS),
        wait_timeout=_seconds(options["wait_timeout"]),
        credentials=_credentials(user) if at else {},
        sentinel_credentials=_pair(options["sentinel_username"], options["sentinel_password"]),
        tls=_tls(options) if secure else None,
    )


def _addresses(hosts: str, port: int) -> tuple[Address, ...]:
    found: list[Address] = []
    for text in hosts.split(","):
        place = re.fullmatch(r"(?:\[([0-9a-fA-F:.%]+)\]|([^:\[\]\s]*))(?::(\d{1,5}))?", text)
        number = int(place[3]) if place and place[3] else port
        if place is None or not 0 < number < 65_536 or (not text and len(hosts.split(",")) > 1):
            raise InvalidValue("the hosts of a Redis URL are written host:port, several of a Cluster or of sentinels with commas between")
        found.append((unquote(place[1] or place[2] or "localhost"), number))
    return tuple(found)


def _options(query: str) -> dict[str, str]:
    options = dict(_OPTIONS)
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise InvalidValue(f"unknown option {name!r} in the Redis URL; known are {', '.join(_OPTIONS)}")
        options[name] = value
    return options


def _database(parts: list[str], kind: str) -> int:
    if not parts:
        return 0
    if len(parts) > 1 or not parts[0].isdecimal() or (kind == "cluster" and int(parts[0])):
        raise InvalidValue("after the host of a Redis URL comes the number of the database, and a Cluster has number 0 alone")
    return int(parts[0])


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[!-z|~]{1,64}", text):  # no braces: they are what says in which slot a key lies
        raise InvalidValue(f"prefix must be 1 to 64 printable ASCII characters without braces, not {text!r:.80}, in the Redis URL")
    return text


def _number(text: str, name: str, most: int) -> int:
    if not text.isdecimal() or int(text) > most:
        raise InvalidValue(f"{name} must be a number from 0 to {most}, not {text!r:.40}, in the Redis URL")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not float(text):
        raise InvalidValue(f"wait_timeout must be a number of seconds over zero, not {text!r:.40}, in the Redis URL")
    return float(text)


def _credentials(user: str) -> dict[str, Any]:
    name, _, password = user.partition(":")
    return _pair(unquote(name), unquote(password))


def _pair(name: str, password: str) -> dict[str, Any]:
    return {key: value for key, value in (("username", name), ("password", password)) if value}


def _tls(options: dict[str, str]) -> dict[str, Any]:
    files = {name: options[name] for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") if options[name]}
    return {**files, "ssl_check_hostname": options["ssl_check_hostname"].lower() != "false", "ssl_cert_reqs": "required"}
