"""``botwire mcp``: the memory server for MCP clients."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from botwire.cli import _exit
from botwire.cli._mcp_setup import register as register_setup
from botwire.cli._options import Debug, Namespace, Options, Timeout, Token, Url, command, help_text
from botwire.cli._output import note, out, safe_line

if TYPE_CHECKING:
    from botwire.integrations.mcp import Settings

_HELP = """
Serve memory to MCP clients: Claude Desktop, Claude Code, Cursor, VS Code and others. Speaks over standard input and output, or with
--transport http over HTTP. Clients start it themselves; `botwire mcp config --client NAME` prints or writes what they need.

    botwire mcp --namespace-from git
    botwire mcp --transport http --port 8765 --token-file tokens.toml
"""

group = typer.Typer(name="mcp", help=help_text(_HELP), rich_markup_mode="rich", invoke_without_command=True)

_GROUPS = ("core", "sessions", "admin")
_HTTP = "Over HTTP"
Transport = Annotated[str, typer.Option("--transport", metavar="stdio|http", help="How clients reach it.")]
StoreOption = Annotated[str | None, typer.Option("--store", metavar="PATH|URL", help="Where memory lies: a file, or the same as --url.")]
NamespaceFrom = Annotated[
    str | None,
    typer.Option("--namespace-from", metavar="git|cwd", help="Name it after the repository, or the directory, it is started in."),
]
Lock = Annotated[bool, typer.Option("--lock-namespace", help="Calls cannot name another namespace.")]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Nothing can be written through it.")]
Tools = Annotated[str, typer.Option("--tools", metavar="SETS", help="The sets of tools to show: core, sessions, admin.")]
MaxResult = Annotated[int, typer.Option("--max-result-bytes", metavar="N", min=8_000, help="How large a list or a search may be.")]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", rich_help_panel=_HTTP, help="The address to listen at.")]
Port = Annotated[int, typer.Option("--port", metavar="PORT", min=0, max=65_535, rich_help_panel=_HTTP, help="0 for any free one.")]
Path_ = Annotated[str, typer.Option("--path", metavar="PATH", rich_help_panel=_HTTP, help="Where it answers.")]
TokenFileOption = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", rich_help_panel=_HTTP, help="Who is let in: see `botwire mcp token`."),
]
AllowHost = Annotated[
    list[str] | None, typer.Option("--allow-host", metavar="NAME", rich_help_panel=_HTTP, help="Another name by which clients call it.")
]
PublicUrl = Annotated[
    str | None, typer.Option("--public-url", metavar="URL", rich_help_panel=_HTTP, help="Its URL as clients know it, behind a proxy.")
]
NoAuth = Annotated[bool, typer.Option("--no-auth", rich_help_panel=_HTTP, help="Listen beyond this machine without tokens.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(group, "token", without=("url", "token", "namespace", "timeout"))(token)
    register_setup(group)
    app.add_typer(group)


@group.callback(invoke_without_command=True)
def serve(  # noqa: PLR0913, PLR0917 - a command's options
    context: typer.Context,
    transport: Transport = "stdio",
    store: StoreOption = None,
    namespace: Namespace = None,
    namespace_from: NamespaceFrom = None,
    lock_namespace: Lock = False,
    read_only: ReadOnly = False,
    tools: Tools = "core,sessions",
    max_result_bytes: MaxResult = 60_000,
    host: Host = "127.0.0.1",
    port: Port = 8765,
    path: Path_ = "/mcp",
    token_file: TokenFileOption = None,
    allow_hosts: AllowHost = None,
    public_url: PublicUrl = None,
    no_auth: NoAuth = False,
    url: Url = None,
    token: Token = None,
    timeout: Timeout = None,
    debug: Debug = False,
) -> None:
    """Serve, unless a command follows."""
    options = Options(_store_url(store, url), token, namespace, timeout, debug=debug).over(context.obj or Options())
    context.obj = options
    if context.invoked_subcommand is not None:
        return
    from botwire.cli._mcp_namespace import namespace_of
    from botwire.integrations.mcp import Settings

    settings = Settings(namespace_of(options.namespace, namespace_from), lock_namespace, read_only, _groups(tools), max_result_bytes)
    source = _source(options)
    if transport == "stdio":
        if token_file is not None:
            raise typer.BadParameter(
                "--token-file is for --transport http: over standard input there is one client, who started the server"
            )
        _serve_stdio(settings, source)
    elif transport == "http":
        from botwire.integrations.mcp import Address

        _serve_http(settings, source, Address(host, port, path, token_file, no_auth, tuple(allow_hosts or ()), public_url))
    else:
        raise typer.BadParameter(f"--transport must be stdio or http, not {transport!r}")


def _store_url(store: str | None, url: str | None) -> str | None:
    """``--store`` is a URL, or the path of a file; a relative one counts from the working directory."""
    if store is None:
        return url
    given = store if "://" in store else f"sqlite://{_quoted(Path(store).expanduser().absolute())}"
    if url is not None and url != given:
        raise typer.BadParameter("--store and --url are two names of one thing; give one of them")
    return given


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(path.as_posix())


def _source(options: Options) -> dict[str, Any]:
    given = {"url": options.url, "token": options.token, "timeout": options.timeout}
    return {name: value for name, value in given.items() if value is not None}


def _groups(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not names or names - set(_GROUPS):
        raise typer.BadParameter(f"--tools must be one or more of {', '.join(_GROUPS)}, separated by commas, not {text!r:.80}")
    return names


def _serve_stdio(settings: Settings, source: dict[str, Any]) -> None:
    from botwire.integrations.mcp import run_stdio

    if sys.stdin.isatty():
        note("botwire mcp: waiting for an MCP client on standard input; clients start this themselves (botwire mcp config --help)")
    run_stdio(settings, source, _say)


def _serve_http(settings: Settings, source: dict[str, Any], address: Any) -> None:
    from botwire.integrations.mcp import run_http

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server finishes what it took on, then gets the signal again
    try:
        run_http(settings, source, address, _say)
    except KeyboardInterrupt:
        note("botwire mcp: stopped")
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(line: str) -> None:
    print(f"botwire mcp: {safe_line(line)}", file=sys.stderr, flush=True)  # noqa: T201 - standard output is the protocol's


# -------------------------------------------------------------------------------------------- token


def token(
    _: Options,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom it is for.")],
    namespaces: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="NAMESPACE", help="A namespace it opens; team/* is all that begin with team/. By default NAME."),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="It can read, not write.")] = False,
) -> int:
    """Make a token for --token-file: prints the table to add to the file, and on standard error the token, once.

    botwire mcp token alice >> tokens.toml
    botwire mcp token ci --for 'builds/*' --read-only >> tokens.toml
    """
    from botwire.integrations.mcp import new_token

    made, table = new_token(name, namespaces or [name], ["read"] if read_only else ["read", "write"])
    out(table)
    note(f"the token, which is shown only now: {made}")
    return _exit.OK
