"""The entry point: runs a command, and turns what went wrong into one clear line and an exit status."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from botwire._errors import BotWireError, QuotaExceeded, VersionConflict
from botwire.cli import _exit
from botwire.cli._backup import register as register_backup
from botwire.cli._copy import register as register_copy
from botwire.cli._demo import register as register_demo
from botwire.cli._entries import register as register_entries
from botwire.cli._mcp import register as register_mcp
from botwire.cli._options import AsJson, Debug, Namespace, Options, Timeout, Token, Url, help_text
from botwire.cli._output import complain, drop_output, out
from botwire.cli._retain import register as register_retain
from botwire.cli._sessions import register as register_sessions
from botwire.cli._store import register as register_store
from botwire.cli._token import register as register_token
from botwire.cli._transfer import register as register_transfer
from botwire.cli._watch import register as register_watch

_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]  # typer does not name it, and keeps it elsewhere from version to version

_HELP = """
Persistent memory for AI agents: look at it, change it, move it, serve it.

    botwire set plan '{"step": 1}'        botwire get plan
    botwire keys 'user:*'                 botwire show user-42 --last 20
    botwire export backup.jsonl           botwire import backup.jsonl
    botwire serve                         botwire demo
"""
_STATUSES = "\n".join(["\nExit status:\n", *(f"    {code:>3}  {meaning}" for code, meaning in _exit.MEANINGS.items())])

app = typer.Typer(
    name="botwire",
    help=help_text(_HELP + _STATUSES),  # not in the epilog, whose line breaks typer joins in some versions
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for register in (
    register_entries,
    register_sessions,
    register_watch,
    register_transfer,
    register_copy,
    register_store,
    register_token,
    register_backup,
    register_retain,
    register_mcp,
    register_demo,
):
    register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        from botwire._version import __version__

        out(f"botwire {__version__}")
        raise typer.Exit


@app.callback()
def _common(  # pyright: ignore[reportUnusedFunction]
    context: typer.Context,
    _version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False,
    url: Url = None,
    token: Token = None,
    namespace: Namespace = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    context.obj = Options(url, token, namespace, timeout, as_json, debug)


def main(arguments: list[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; returns its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        _never_fail_on_text(stream)
    status = _run(given)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
    return status


def _run(arguments: list[str]) -> int:
    try:
        status: Any = app(arguments, prog_name="botwire", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = _exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, the user gets one line
        return _fail(error, arguments)
    if status == _exit.INTERRUPTED:
        complain("interrupted", "interrupted", as_json="--json" in arguments)
    return status if isinstance(status, int) else _exit.OK


def _fail(error: Exception, arguments: list[str]) -> int:
    if isinstance(error, _USAGE_ERROR):
        status, code, message = _exit.USAGE, "usage", _usage_message(error)
    else:
        status = _exit.exit_code(error)
        code = error.code if isinstance(error, BotWireError) else "file" if isinstance(error, OSError) else "bug"
        message = _message(error)
    if not message:  # no arguments: typer has printed the help
        return status
    if "--debug" in arguments:
        import traceback

        traceback.print_exception(error)
    complain(message, code, as_json="--json" in arguments, **_extra(error))
    return status


def _usage_message(error: Any) -> str:
    message = str(error.format_message() if getattr(error, "param", None) is not None else error.message).rstrip(".")
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "botwire"
    if type(error).__name__ == "NoArgsIsHelpError":
        out(message)
        return ""
    return f"{message}; see {where} --help"


def _message(error: Exception) -> str:
    if isinstance(error, BotWireError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    return f"unexpected {type(error).__name__}: {error} (this is a bug; --debug shows where)"


def _extra(error: Exception) -> dict[str, Any]:
    if isinstance(error, VersionConflict):
        return {"current": error.current}
    return {"retry_after": error.retry_after} if isinstance(error, QuotaExceeded) else {}


def _never_fail_on_text(stream: Any) -> None:
    """Print what the stream's encoding lacks, and lone surrogates, as escapes."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
