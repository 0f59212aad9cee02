"""Which distribution owns the package ``autogen``: three have shipped it, and the one installed last overwrites the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from botwire import MissingExtra

logger = logging.getLogger("botwire")

_OWNERS = {"autogen": (999,), "ag2": (1,), "pyautogen": (0, 10)}
"""Distributions that hold ``autogen``, and the version from which each no longer does."""

INSTALL = "install the classic line with: pip install 'autogen>=0.14'"


def owners() -> list[str]:
    """The installed distributions that claim the package ``autogen``, as ``"ag2 0.9.10"``."""
    return [f"{name} {found}" for name, found in _installed() if _number(found) < _OWNERS[name]]


def check_autogen() -> None:
    """See to it that ``autogen`` is the classic one.

    Raises:
        MissingExtra: if it is not there; says which of the other lines of AutoGen is, and what to do.
    """
    try:
        import autogen
    except ModuleNotFoundError as error:
        if error.name != "autogen":
            raise  # something that autogen itself needs: its own message says what
        raise MissingExtra(_absence(), name="autogen") from error
    if not hasattr(autogen, "ConversableAgent"):
        raise MissingExtra(
            f"the package 'autogen' is there, but not whole (claimed by: {', '.join(owners()) or 'no distribution'}):"
            f" uninstall all that claim it, and {INSTALL}",
            name="autogen",
        )
    if len(claims := owners()) > 1:
        logger.warning("%s overwrite each other: all of them own the package 'autogen'; uninstall all but one", " and ".join(claims))


def _absence() -> str:
    message = "botwire.integrations.autogen_classic needs the package 'autogen', which is not installed; "
    found = dict(_installed())
    if "ag2" in found:
        return f"{message}ag2 {found['ag2']} no longer has it: use botwire.integrations.ag2 with ag2, or {INSTALL}"
    if "pyautogen" in found:
        return (
            f"{message}pyautogen {found['pyautogen']} stands for autogen-agentchat: use botwire.integrations.autogen with it, or {INSTALL}"
        )
    return message + INSTALL


def _installed() -> Iterator[tuple[str, str]]:
    for name in _OWNERS:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _number(text: str) -> tuple[int, ...]:
    parts = text.split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())
