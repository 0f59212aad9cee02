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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-test"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

DEBIAN_PACKAGES = {"curl": "curl"}
"""Programs that tests use besides Python's packages, and the Debian package that brings each."""


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - an older Python can get here, and should be told
        return _say(f"botwire needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    make_environment()
    install_programs()
    if arguments:
        return run("pytest", *arguments)
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
    # Last, so that its summary ends the output.
    "pytest": ("pytest", "-n", "auto", "--dist", "worksteal", "--durations=10"),
}


def check(name: str, command: tuple[str, ...]) -> bool:
    print(f"\n=== {name}", flush=True)
    return run(*command) == 0


def run(program: str, *arguments: str) -> int:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(ENVIRONMENT)}
    return subprocess.run([str(BIN / program), *arguments], cwd=ROOT, env=environment, check=False).returncode


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
        if not (_pip("install", "--upgrade", "pip>=25.1") and _pip("install", "--editable", ".[server]", "--group", "dev")):
            sys.exit("the environment cannot be made: see above")
        return
    os.environ["UV_PYTHON_DOWNLOADS"] = "never"
    machine = ssl.get_default_verify_paths()
    if machine.cafile or machine.capath:
        os.environ.setdefault("UV_SYSTEM_CERTS", "1")  # a proxy's certificate that pip knows of is unknown to uv otherwise
    uv = {**os.environ, "VIRTUAL_ENV": str(ENVIRONMENT), "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENT)}
    sync = [str(PYTHON), "-m", "uv", "sync", "--quiet", "--locked", "--python", str(PYTHON), "--extra", "server", "--group", "dev"]
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


def _say(what: str) -> int:
    print(what, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
