"""Is this ready to be published? ``python3 tests/release.py`` builds wheel and sdist, looks at them, and tests what they install.

The tests run in a folder that holds no ``botwire``, so that the installed wheel is tested and not the tree: first the wheel, then a
wheel made of the sdist, which must hold the same. Needs uv, or pip with a network. Uses the standard library only.
"""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = [f"tests/{name}.py" for name in ("test_memory", "test_session", "test_import_cost", "cli/test_main", "server/test_serve")]
"""Enough to see that the installed package is whole: every part of it is imported, the command and the service run."""

MOST_BYTES = 850_000
"""Of the wheel. Who makes it larger than that says here why."""

UNWANTED = ("tests/", "docs/", "notebooks/", "benchmarks/", "examples/", "node_modules", "__pycache__")
WANTED = ("botwire/py.typed", "botwire/__main__.py", "botwire/server/_app.py", "botwire/testing/__init__.py")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="botwire-release-") as folder:
        wheel, sdist = build(ROOT, Path(folder, "dist"))
        problems = look_at(wheel) + look_at_sdist(sdist) + changelog_problems()
        again = build_from(sdist, Path(folder, "again"))
        problems += [f"only in one of the wheels: {name}" for name in sorted(names_in(wheel) ^ names_in(again))]
        for problem in problems:
            print(f"release: {problem}", file=sys.stderr)
        print(f"release: {wheel.name} has {wheel.stat().st_size:,} bytes and {len(names_in(wheel))} files")
        return 1 if problems else test_installed(wheel, Path(folder, "installed"))


# ------------------------------------------------------------------------------------------ building


def build(source: Path, goal: Path) -> tuple[Path, Path]:
    """Wheel and sdist of a source tree."""
    uv = shutil.which("uv")
    command = [uv, "build", "--quiet"] if uv else [sys.executable, "-m", "build"]
    subprocess.run([*command, "--out-dir" if uv else "--outdir", str(goal), str(source)], check=True)
    return next(goal.glob("*.whl")), next(goal.glob("*.tar.gz"))


def build_from(sdist: Path, goal: Path) -> Path:
    """The wheel that an sdist makes."""
    careful = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # since Python 3.11.4
    with tarfile.open(sdist) as archive:
        archive.extractall(goal, **careful)
    return build(next(goal.iterdir()), goal / "dist")[0]


# ---------------------------------------------------------------------------------------- looking at it


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def look_at(wheel: Path) -> list[str]:
    names = names_in(wheel)
    problems = [f"the wheel lacks {name}" for name in WANTED if name not in names]
    problems += [f"the wheel holds {name}" for name in names if any(part in name for part in UNWANTED)]
    tracked = subprocess.run(["git", "ls-files", "botwire"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    problems += [f"the wheel lacks {name}" for name in tracked if name not in names]
    if wheel.stat().st_size > MOST_BYTES:
        problems.append(f"the wheel has {wheel.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
    return problems + metadata_problems(wheel)


def metadata_problems(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    problems = [f"the metadata lack {field}" for field in ("Name", "Version", "Summary", "Requires-Python") if not metadata[field]]
    if metadata["License-Expression"] != "MIT":
        problems.append("the license is not said to be MIT")
    if "# botwire" not in str(metadata.get_payload()):
        problems.append("the README is not the long description")
    return problems


def look_at_sdist(sdist: Path) -> list[str]:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "uv.lock", "tests/run.py")
    return [f"the sdist lacks {name}" for name in wanted if name not in names]


def changelog_problems() -> list[str]:
    """Whether it tells of this version: under its number and a date, or of one in development under *Unreleased*."""
    version = re.search(r'"(.*)"', (ROOT / "botwire" / "_version.py").read_text(encoding="utf-8").partition("__version__")[2])[1]
    heading = r"\[Unreleased\]" if ".dev" in version else rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d"
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return [] if section and "\n- " in section[1] else [f"CHANGELOG.md has no section that tells of {version}"]


# ------------------------------------------------------------------------------------------ testing it


def test_installed(wheel: Path, folder: Path) -> int:
    """Install the wheel where nothing else of the tree is, and run tests there."""
    folder.mkdir()
    for name in ("tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, folder)
    python = environment(folder / ".venv", wheel)
    alone = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    alone["PATH"] = f"{python.parent}{os.pathsep}{alone['PATH']}"
    where = "import botwire, sys; sys.exit(not botwire.__file__.startswith(sys.prefix))"
    for command in (["-c", where], ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", *TESTS]):
        status = subprocess.run([str(python), *command], cwd=folder, env=alone, check=False).returncode
        if status:
            return status
    return 0


def environment(place: Path, wheel: Path) -> Path:
    """The Python of an environment with the wheel, its server, and what its tests use."""
    venv.create(place, symlinks=os.name != "nt")
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    what = [f"{wheel}[server]", "--group", f"{ROOT / 'pyproject.toml'}:test"]
    if uv := shutil.which("uv"):
        installer = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        installer = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    subprocess.run([*installer, *what], check=True, env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"})
    return python


if __name__ == "__main__":
    sys.exit(main())
