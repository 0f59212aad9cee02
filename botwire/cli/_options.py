"""The options that every command has, before its name or after it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from botwire.cli._output import drop_output
from botwire.stores._open import resolve_url

if TYPE_CHECKING:
    from botwire import Memory
    from botwire.stores import Store

DEFAULT_NAMESPACE = "default"
_PANEL = "Common options"

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        rich_help_panel=_PANEL,
        help="Where memory lies: sqlite:///path/to/file.db, http://host:port, ... Without it BOTWIRE_URL, or else one file of yours.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        rich_help_panel=_PANEL,
        help="For a server that asks for one. BOTWIRE_TOKEN is better: other users can see a command's options.",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAME", rich_help_panel=_PANEL, help=f"The namespace; {DEFAULT_NAMESPACE!r} unless given."),
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", rich_help_panel=_PANEL, help="How long one call to the store may take; 30 unless given."),
]
AsJson = Annotated[bool, typer.Option("--json", rich_help_panel=_PANEL, help="Print JSON for programs; errors as JSON on standard error.")]
Debug = Annotated[bool, typer.Option("--debug", rich_help_panel=_PANEL, help="Show the traceback of an error.")]


@dataclass(frozen=True)
class Options:
    """What was given."""

    url: str | None = None
    token: str | None = None
    namespace: str | None = None
    timeout: float | None = None
    json: bool = False
    debug: bool = False

    @property
    def name(self) -> str:
        """The namespace in force."""
        return DEFAULT_NAMESPACE if self.namespace is None else self.namespace

    @property
    def why(self) -> tuple[str, str]:
        """The URL in force, and where it comes from."""
        url, _ = resolve_url(self.url)
        if self.url is not None:
            return url, "given as --url"
        if os.environ.get("BOTWIRE_URL"):
            return url, "from the environment variable BOTWIRE_URL"
        return url, "the default: neither --url nor BOTWIRE_URL is set"

    def memory(self, namespace: str | None = None) -> Memory:
        """The memory of the namespace in force, or of another one."""
        from botwire import Memory

        timeout: dict[str, Any] = {} if self.timeout is None else {"timeout": self.timeout}
        return Memory(self.name if namespace is None else namespace, url=self.url, token=self.token, **timeout)

    def store(self) -> Store:
        """The store in force; closed when the process ends."""
        return self.memory().store

    def over(self, outer: Options) -> Options:
        """These options, with those given before the command where these say nothing."""
        given = {name: value for name, value in vars(self).items() if value is not None and value is not False}
        return replace(outer, **given)


_COMMON: dict[str, Any] = {"url": Url, "token": Token, "namespace": Namespace, "timeout": Timeout, "json": AsJson, "debug": Debug}
_DEFAULTS: dict[str, Any] = {"json": False, "debug": False}


def command(
    app: typer.Typer, name: str, *, without: tuple[str, ...] = (), **settings: Any
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Make a function a command of ``app``: it gets the ``Options`` first, then its own; it returns its exit status, or None.

    Args:
        app: what it is added to.
        name: how it is called.
        without: common options that make no sense for it.
        settings: of ``typer.Typer.command``.
    """
    common = {option: annotation for option, annotation in _COMMON.items() if option not in without}

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        def run(context: typer.Context, **values: Any) -> int | None:
            options = Options(**{option: values.pop(option) for option in common})
            try:
                return function(options.over(context.obj or Options()), **values)
            except BrokenPipeError:  # whoever read the output has seen enough
                drop_output()
                return None

        shared = [_parameter(option, annotation) for option, annotation in common.items()]
        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        parameters = [context, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *shared))]
        vars(run)["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        run.__doc__ = help_text(function.__doc__ or "")
        run.__name__ = function.__name__
        app.command(name, **settings)(run)
        return function

    return register


def help_text(text: str) -> str:
    """A docstring as typer's help: the line breaks of indented paragraphs, the examples, stay."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(f"\b\n{paragraph}" if paragraph.startswith("    ") else paragraph for paragraph in paragraphs)


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(name), annotation=annotation)
