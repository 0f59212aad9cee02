"""``token``: who may do what through a server."""

from __future__ import annotations

import re
from typing import Annotated, Any, cast

import typer

from botwire._errors import InvalidValue, shown
from botwire._tokens import SCOPES, Token, TokenBook, make_token, wall_clock
from botwire._wire import path
from botwire.cli import _exit
from botwire.cli._options import Options, command
from botwire.cli._output import Column, moment_text, note, out, out_json, out_table
from botwire.stores._protocol import Store

_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_LIFETIME = re.compile(r"([0-9]{1,6})([mhdw])").fullmatch
_COLUMNS = (
    Column("ID"),
    Column("NAMESPACES", fold=True),
    Column("SCOPES"),
    Column("CREATED"),
    Column("EXPIRES"),
    Column("LABEL", fold=True),
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(name="token", help="Tokens for `botwire serve`: who may read and write which namespaces.", no_args_is_help=True)
    command(group, "create", without=("namespace",))(create)
    command(group, "list", without=("namespace",))(list_)
    command(group, "revoke", without=("namespace",))(revoke)
    app.add_typer(group)


def create(
    options: Options,
    namespaces: Annotated[
        list[str] | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="A namespace that it opens; 'team-*' for all that begin so. May be repeated."
        ),
    ] = None,
    scope: Annotated[
        str, typer.Option("--scope", metavar="SCOPES", help=f"Of {', '.join(SCOPES)}; admin opens everything.")
    ] = "read,write",
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="How long it opens anything: 90d, 12h, 30m, 4w. For ever unless given.")
    ] = None,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help="What it is for, for people.")] = "",
) -> int:
    """Make a token and print it. It is shown only now: the store keeps its hash alone.

    Give the --url of the store that the server serves; its servers know the token at once. With an admin token, the
    server's own URL does as well. From the first token on, every server of the store asks for one.

        botwire token create -n 'team-a*' --scope read,write --expires 90d --label 'CI of team A'
        botwire token create --scope admin --url sqlite:///srv/memory.db
    """
    given: dict[str, Any] = {"scopes": _scopes(scope), "label": label, "expires_in": _seconds(expires)}
    if namespaces:
        given["namespaces"] = namespaces
    elif "admin" not in given["scopes"]:
        raise typer.BadParameter("say which namespaces it opens: --namespace NAME, or --namespace '*' for all")
    text, token = _create(options.store(), given)
    if options.json:
        out_json({**token.to_dict(), "token": text})
        return _exit.OK
    out(text)
    note(f"botwire: token {token.id} opens {', '.join(token.namespaces)} for {', '.join(token.scopes)}; it is shown only now")
    return _exit.OK


def _create(store: Store, given: dict[str, Any]) -> tuple[str, Token]:
    if _is_service(store):
        answer = _ask(store, "POST", "/admin/tokens", given)
        return str(answer["token"]), Token.from_dict(answer)
    text, token = make_token(**given)
    TokenBook(store).add(token)
    return text, token


def list_(options: Options) -> int:
    """List the tokens: what they open, not their texts, which are nowhere.

    botwire token list
    """
    tokens = _tokens(options.store())
    if options.json:
        out_json({"tokens": [token.to_dict() for token in tokens]})
    elif tokens:
        out_table(_COLUMNS, [_row(token) for token in tokens])
    else:
        note("botwire: there are no tokens")
    return _exit.OK


def _tokens(store: Store) -> list[Token]:
    if _is_service(store):
        return [Token.from_dict(record) for record in _ask(store, "GET", "/admin/tokens")["tokens"]]
    return TokenBook(store).list()


def _row(token: Token) -> tuple[str, ...]:
    expires = "never" if token.expires_at is None else "expired" if token.is_expired(wall_clock()) else _moment(token.expires_at)
    return token.id, ", ".join(token.namespaces), ",".join(token.scopes), _moment(token.created_at), expires, token.label


def _moment(microseconds: int) -> str:
    from datetime import UTC, datetime

    return moment_text(datetime.fromtimestamp(microseconds / 1_000_000, UTC))


def revoke(options: Options, token_id: Annotated[str, typer.Argument(metavar="ID", help="Of the token: `botwire token list`.")]) -> int:
    """Revoke a token: within a second it opens nothing any more, at any server of the store.

    botwire token revoke k3f9w2qd
    """
    if token_id.startswith("bw_"):  # the whole token: its id is in it, and it need not be shown again
        token_id = token_id.split("_")[1]
    store = options.store()
    if _is_service(store):
        removed = _ask(store, "DELETE", path("admin", "tokens", token_id), missing=True) is not None
    else:
        removed = TokenBook(store).revoke(token_id)
    if not removed:
        note(f"botwire: there is no token {token_id!r:.60}")
        return _exit.PROBLEM
    if options.json:
        out_json({"id": token_id, "revoked": True})
    else:
        note(f"botwire: token {token_id} is revoked")
    return _exit.OK


def _is_service(store: Store) -> bool:
    return hasattr(store, "ask")


def _ask(store: Store, method: str, target: str, document: dict[str, Any] | None = None, *, missing: bool = False) -> Any:
    answer = cast("Any", store).ask(method, target, document)
    if answer is None and not missing:
        raise InvalidValue(f"{store.url} has no {target}: is it a server of this version of botwire?")
    return answer


def _scopes(text: str) -> list[str]:
    return [scope.strip() for scope in text.split(",")]


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    found = _LIFETIME(text)
    if found is None or not int(found[1]):
        raise InvalidValue(f"a token's lifetime is a number with m, h, d or w, such as 90d, not {shown(text)}")
    return int(found[1]) * _UNITS[found[2]]
