"""Options of ``botwire serve``: who is let in and how much they may do."""

from __future__ import annotations

from typing import Annotated

import typer

_TLS = "Encryption and proxies"
_LIMITS = "Quotas and limits"

TLSCert = Annotated[
    str | None,
    typer.Option(
        "--tls-cert", metavar="FILE", rich_help_panel=_TLS, help="Serve https with this certificate: PEM, with those up to its authority."
    ),
]
TLSKey = Annotated[
    str | None, typer.Option("--tls-key", metavar="FILE", rich_help_panel=_TLS, help="The certificate's key, if it is not in its file.")
]
ForwardedAllowIPs = Annotated[
    str | None,
    typer.Option(
        "--forwarded-allow-ips",
        metavar="ADDRESSES",
        rich_help_panel=_TLS,
        help="Reverse proxies, by commas, whose X-Forwarded-For and -Proto are believed; * for all.",
    ),
]
ConfigFile = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", rich_help_panel=_LIMITS, help="A TOML file of quotas, limits and retention rules."),
]
QuotaRules = Annotated[
    list[str] | None,
    typer.Option(
        "--quota",
        metavar="RULE",
        rich_help_panel=_LIMITS,
        help="Limits of namespaces: 'team-*:writes_per_day=1000,bytes=50MB,value_bytes=64KB,keys=1000,sessions=100'. May be repeated.",
    ),
]
RequestRate = Annotated[
    float | None,
    typer.Option("--requests-per-second", metavar="N", rich_help_panel=_LIMITS, help="Of each token, or of each address without one."),
]
Burst = Annotated[
    int | None, typer.Option("--burst", metavar="N", rich_help_panel=_LIMITS, help="So many of them at once; twice the rate unless given.")
]
PublicTerms = Annotated[
    bool,
    typer.Option("--public-terms", rich_help_panel=_LIMITS, help="1,000 writes a day and 50 MB for each namespace, reads without limit."),
]
