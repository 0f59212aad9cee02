"""``info``, ``doctor``, ``serve``."""

from __future__ import annotations

import signal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from botwire._errors import MissingExtra
from botwire._version import __version__
from botwire.cli import _exit
from botwire.cli._figures import figures_of, file_of, iter_namespaces
from botwire.cli._operating import Drain, Form, Level, LogFormat, LogLevel, MetricsHost, MetricsPort, operating
from botwire.cli._options import Options, command
from botwire.cli._output import Column, console, note, out, out_json, out_table, safe_line, size_text, styled
from botwire.cli._serve_options import (
    Burst,
    ConfigFile,
    ForwardedAllowIPs,
    PublicTerms,
    QuotaRules,
    RequestRate,
    TLSCert,
    TLSKey,
)

if TYPE_CHECKING:
    from botwire.stores import Store


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "info")(info)
    command(app, "doctor", without=("namespace",))(doctor)
    command(app, "serve", without=("namespace",))(serve)


# --------------------------------------------------------------------------------------------- info

_COLUMNS = (Column("NAMESPACE", fold=True), Column("ENTRIES", right=True), Column("SESSIONS", right=True), Column("MESSAGES", right=True))


def info(options: Options) -> int:
    """Say which store is in use and why, and how much it holds: of all namespaces, or of the one given with -n.

    Writes nothing: a store that does not exist yet is not made.

        botwire info
        botwire info --json | jq -r .path
    """
    store = options.store()
    about = _about(options, store)
    names = [options.namespace] if options.namespace is not None else iter_namespaces(store)
    found = [figures_of(store, name) for name in names]
    if options.json:
        counts = {name: sum(getattr(one, name) for one in found) for name in ("entries", "sessions", "messages")}
        out_json({**about, **counts, "namespaces": [one._asdict() for one in found]})
        return _exit.OK
    _print_about(about)
    if found:
        out()
        rows = [(one.namespace, f"{one.entries:,}", f"{one.sessions:,}", f"{one.messages:,}") for one in found]
        out_table(_COLUMNS, rows)
    else:
        out("\nNothing is stored there yet.")
    return _exit.OK


def _about(options: Options, store: Store) -> dict[str, Any]:
    about: dict[str, Any] = {"version": __version__, "store": store.url, "why": options.why[1], "path": None, "bytes": None, "sqlite": None}
    path = file_of(store)
    if path is not None:
        import apsw

        about |= {"path": path, "bytes": _bytes_of(path), "sqlite": apsw.sqlite_lib_version()}
    return about


def _bytes_of(path: str) -> int | None:
    """The size of the file with its log; None if there is none yet."""
    files = [file for file in (Path(path), Path(path + "-wal")) if file.exists()]
    return sum(file.stat().st_size for file in files) if files else None


def _print_about(about: dict[str, Any]) -> None:
    size = about["bytes"]
    rows = [("botwire", about["version"]), ("store", about["store"]), ("why", about["why"])]
    if about["path"] is not None:
        rows += [("file", about["path"]), ("size", "not made yet" if size is None else size_text(size)), ("SQLite", about["sqlite"])]
    screen = console()
    for name, text in rows:
        screen.print(styled((f"{name:<10}", "bold"), safe_line(text)))


# ------------------------------------------------------------------------------------------- doctor


def doctor(
    options: Options,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on warnings too.")] = False,
) -> int:
    """Examine the store, and the settings that endanger what is in it. Exits with 1 if there are problems.

    Reads all of the file: for a large one it takes a while.

        botwire doctor
        botwire doctor --json | jq '.findings[] | select(.level != "ok")'
    """
    from botwire.cli._doctor import examine

    url, why = options.why
    report = examine(options.store, url, why)
    if options.json:
        out_json(report.to_dict())
    else:
        report.show()
    return _exit.PROBLEM if report.problems or (strict and report.warnings) else _exit.OK


# -------------------------------------------------------------------------------------------- serve


def serve(  # noqa: PLR0913, PLR0917 - the command's options
    options: Options,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=0, max=65_535, help="The port; 0 for any free one.")] = 8377,
    store: Annotated[str | None, typer.Option("--store", metavar="URL", help="What to serve; the same as --url.")] = None,
    max_value_bytes: Annotated[int, typer.Option("--max-value-bytes", metavar="N", min=1, help="Largest value or message.")] = 1_048_576,
    max_batch_bytes: Annotated[
        int, typer.Option("--max-batch-bytes", metavar="N", min=1, help="Largest request of many values.")
    ] = 67_108_864,
    allow_hosts: Annotated[
        list[str] | None, typer.Option("--allow-host", metavar="NAME", help="Another name by which clients call it, such as a proxy's.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Processes that answer requests.")] = 1,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Ask for no tokens: whoever can reach it can do everything.")] = False,
    tls_cert: TLSCert = None,
    tls_key: TLSKey = None,
    forwarded_allow_ips: ForwardedAllowIPs = None,
    config: ConfigFile = None,
    quota: QuotaRules = None,
    requests_per_second: RequestRate = None,
    burst: Burst = None,
    public_terms: PublicTerms = False,
    log_level: LogLevel = Level.WARNING,
    log_format: LogFormat = Form.PLAIN,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    drain: Drain = 0.0,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Show what is stored to people, at /.")] = True,
) -> int:
    """Serve a store over HTTP, until Ctrl-C. Prints its URL when it is ready.

    Then, elsewhere: BOTWIRE_URL=http://127.0.0.1:8377, or Memory(url="http://127.0.0.1:8377").

        botwire serve
        botwire serve --port 9000 --store sqlite:///srv/memory.db --workers 4
        botwire serve --host 0.0.0.0 --tls-cert server.pem --tls-key server.key --quota 'team-*:writes_per_day=1000,bytes=50MB'
    """
    from botwire.server import serve as run  # says what to install if it is not there
    from botwire.server import settings_of

    if store is not None and options.url is not None and store != options.url:
        raise typer.BadParameter("--store and --url are two names of one thing; give one of them")
    limits = {"requests_per_second": requests_per_second, "burst": burst, "public_terms": public_terms}
    settings = settings_of(config, quota or (), tls_cert=tls_cert, tls_key=tls_key, forwarded_allow_ips=forwarded_allow_ips, **limits)
    settings |= {"max_value_bytes": max_value_bytes, "max_batch_bytes": max_batch_bytes, "page": page}
    settings["operating"] = operating(log_level, log_format, metrics_port, metrics_host, drain, config)
    url = store if store is not None else options.url
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server finishes what it took on, then gets the signal again
    try:
        run(url, host=host, port=port, no_auth=no_auth, allow_hosts=allow_hosts or (), workers=workers, ready=_tell_ready, **settings)
    except KeyboardInterrupt:
        note("botwire: stopped")
    finally:
        signal.signal(signal.SIGTERM, before)
    return _exit.OK


def _tell_ready(line: str) -> None:
    print(safe_line(line), flush=True)  # noqa: T201 - at once, whoever started it waits for this line


def server_is_installed() -> bool:
    """Whether ``botwire serve`` can run."""
    try:
        import_module("botwire.server")
    except MissingExtra:
        return False
    return True
