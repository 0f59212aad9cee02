"""``botwire mcp config``, ``rules`` and ``doctor``: what makes a client use the memory server."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from botwire.cli import _exit
from botwire.cli._mcp_clients import CLIENTS, Client
from botwire.cli._mcp_merge import Refused
from botwire.cli._options import Options, command
from botwire.cli._output import complain, note, out, out_json

_NAMES = "|".join(CLIENTS)
ClientName = Annotated[str, typer.Option("--client", metavar=_NAMES, help="Which client.")]
Project = Annotated[bool, typer.Option("--project", help="The file of this folder, which others may share, in place of your own.")]
FilePath = Annotated[Path | None, typer.Option("--file", metavar="PATH", help="Another file than the client's usual one.")]
ServerName = Annotated[str, typer.Option("--name", metavar="NAME", help="By what the client calls the server.")]


def register(group: typer.Typer) -> None:
    """Add the commands to ``botwire mcp``."""
    command(group, "config", without=("token", "timeout"))(config)
    command(group, "rules", without=("url", "token", "namespace", "timeout"))(rules)
    command(group, "doctor", without=("token",))(doctor)


def config(  # noqa: PLR0913, PLR0917 - a command's options
    options: Options,
    client: ClientName,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTION...]", help="Options of botwire mcp that it is to have.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Put it into the file, rather than print it.")] = False,
    project: Project = False,
    file: FilePath = None,
    name: ServerName = "botwire",
    replace: Annotated[bool, typer.Option("--replace", help="Change a server of that name that is there already.")] = False,
    uvx: Annotated[bool, typer.Option("--uvx", help="Let uv install botwire when the client starts.")] = False,
) -> int:
    """Print what a client needs to start the memory server, or put it into the client's settings.

    With --write all else in the file stays as it is, comments too. The old file is kept beside it, with .bak at its end. A file that
    cannot be read is left alone, and so is another server of the same name unless --replace is given. Exits with 6 for the one,
    with 3 for the other. Doing it twice changes nothing.

        botwire mcp config --client cursor
        botwire mcp config --client claude-desktop --write
        botwire mcp config --client vscode --project --write -- --namespace-from git
    """
    from botwire.cli._mcp_config import entry_of, file_of, snippet
    from botwire.cli._mcp_config import write as put

    try:
        known = _client(client)
        path = file or file_of(known, Path.cwd(), project=project)
        shared = file is None and (project or known.user is None)
        entry = entry_of([*_given(options), *(arguments or [])], portable=shared, uvx=uvx)
        about: dict[str, Any] = {"client": client, "file": str(path), "name": name, "entry": entry}
        if not write:
            _show(options, about, snippet(known, name, entry), path, known)
            return _exit.OK
        written = put(path, known, name, entry, replace=replace)
    except Refused as error:
        return _refuse(options, error)
    backup = None if written.backup is None else str(written.backup)
    if options.json:
        out_json({**about, "written": True, "changed": written.changed, "backup": backup})
        return _exit.OK
    out(f"{path}: {'the server is there now' if written.changed else 'nothing to change, the server is there'}")
    if backup:
        out(f"as it was before: {backup}")
    if written.changed:
        out(f"{known.title}: {known.then}. Then `botwire mcp doctor --client {client}` tries it.")
    return _exit.OK


def _given(options: Options) -> list[str]:
    url = [] if options.url is None else ["--url", _absolute(options.url)]
    return url if options.namespace is None else [*url, "--namespace", options.namespace]


def _absolute(url: str) -> str:
    """A relative path counts from where the server is started, which the client decides."""
    if not url.startswith("sqlite://") or url.startswith("sqlite:///") or url == "sqlite://":
        return url
    return f"sqlite://{Path.cwd().as_posix()}/{url.removeprefix('sqlite://')}"


def _show(options: Options, about: dict[str, Any], text: str, path: Path, client: Client) -> None:
    if options.json:
        out_json({**about, "written": False, "changed": False, "backup": None, "text": text})
        return
    out(text, end="")
    note(f"goes into {path}; --write puts it there. Then {client.title}: {client.then}.")
    if client.project == ".mcp.json":
        words = shlex.join([about["entry"]["command"], *about["entry"]["args"]])
        note(f"or, for all your projects: claude mcp add --scope user {about['name']} -- {words}")


def rules(
    options: Options,
    client: Annotated[str, typer.Option("--client", metavar=f"{_NAMES}|copilot", help="Which client.")],
) -> int:
    """Print rules that make a client's model use the memory, which it does not do by itself.

    botwire mcp rules --client claude-code >> CLAUDE.md
    botwire mcp rules --client cursor > .cursor/rules/botwire-memory.mdc
    """
    from botwire.cli._mcp_rules import rules_of

    try:
        name = "vscode" if client == "copilot" else client
        where = _client(name).rules
    except Refused as error:
        return _refuse(options, error)
    if options.json:
        out_json({"client": client, "goes_into": where, "rules": rules_of(name)})
        return _exit.OK
    out(rules_of(name), end="")
    note(f"goes into {where}")
    return _exit.OK


def doctor(
    options: Options,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- OPTION...]", help="Options of botwire mcp to try.")] = None,
    client: Annotated[str | None, typer.Option("--client", metavar=_NAMES, help="Start what this client's settings say.")] = None,
    project: Project = False,
    file: FilePath = None,
    name: ServerName = "botwire",
) -> int:
    """Start the memory server as a client does, list its tools, write an entry, read it back and delete it. Exits with 1 on problems.

    botwire mcp doctor
    botwire mcp doctor --client cursor
    """
    from botwire.cli._mcp_config import configured, file_of
    from botwire.cli._mcp_doctor import examine_server

    program, words, environment = sys.executable, ["-m", "botwire", "mcp", *_given(options), *(arguments or [])], dict[str, str]()
    why = "this botwire"
    try:
        if client is not None:
            known = _client(client)
            path = file or file_of(known, Path.cwd(), project=project)
            entry = configured(path, known, name)
            program, words, environment = entry["command"], [str(word) for word in entry.get("args", [])], _texts(entry.get("env", {}))
            why = f"the server {name!r} of {path}"
    except Refused as error:
        return _refuse(options, error)
    report = examine_server(program, words, environment, why, options.timeout or 30.0)
    if options.json:
        out_json(report.to_dict())
    else:
        report.show()
    return _exit.PROBLEM if report.problems else _exit.OK


def _texts(environment: dict[Any, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in environment.items()}


def _client(name: str) -> Client:
    if name not in CLIENTS:
        raise Refused(f"there is no client {name!r:.80} here; there are {', '.join(CLIENTS)}", _exit.USAGE)
    return CLIENTS[name]


def _refuse(options: Options, error: Refused) -> int:
    complain(str(error), error.code, as_json=options.json)
    return error.status
