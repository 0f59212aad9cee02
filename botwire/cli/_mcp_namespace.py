"""Which namespace ``botwire mcp`` serves: one that is named, or one of the project it is started in."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

import typer

from botwire._errors import InvalidValue
from botwire._names import MAX_NAME_BYTES
from botwire.cli._options import DEFAULT_NAMESPACE

_SCP = re.compile(r"(?:[^@/]+@)?(?P<host>[^:/]+):(?!//)(?P<path>.+)")
_URL = re.compile(r"[a-z+]+://(?:[^@/]*@)?(?P<host>[^/]+)/(?P<path>.+)", re.IGNORECASE)


def namespace_of(namespace: str | None, namespace_from: str | None) -> str:
    """The namespace in force.

    Raises:
        InvalidValue: if it is to be named after a repository, and there is none.
    """
    if namespace_from is None:
        return DEFAULT_NAMESPACE if namespace is None else namespace
    if namespace is not None:
        raise typer.BadParameter("give --namespace or --namespace-from, not both")
    if namespace_from == "cwd":
        return _fitting(str(Path.cwd()))
    if namespace_from == "git":
        return _fitting(_of_repository())
    raise typer.BadParameter(f"--namespace-from must be git or cwd, not {namespace_from!r:.80}")


def _of_repository() -> str:
    """Its origin, which all clones and worktrees share, as ``example.org/owner/name``; without one, where it lies."""
    here = Path.cwd()
    top = _git("rev-parse", "--path-format=absolute", "--git-common-dir")
    if top is None:
        raise InvalidValue(f"{str(here)!r} is in no git repository that git can read; use --namespace-from cwd, or --namespace NAME")
    origin = _git("config", "--get", "remote.origin.url")
    found = None if origin is None else _URL.fullmatch(origin) or _SCP.fullmatch(origin)
    if found is None:
        return top.removesuffix("/.git")
    path = found["path"].strip("/").removesuffix(".git")
    return f"{found['host'].lower()}/{path}"


def _git(*arguments: str) -> str | None:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        ended = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", *arguments],  # noqa: S607 - the user's own git
            stdin=subprocess.DEVNULL,  # standard input is the protocol's
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() or None if ended.returncode == 0 else None


def _fitting(name: str) -> str:
    """A name as it is, or what fits of it with a digest, so that two names never become one."""
    clean = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", "?", name)
    if clean == name and len(name.encode()) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    end = clean.encode()[-(MAX_NAME_BYTES - 40) :].decode("utf-8", "ignore")
    return f"{end}#{digest}"
