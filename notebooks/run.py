"""Run the notebooks as a reader would, and compare their outputs with those stored: ``python3 notebooks/run.py``.

    python3 notebooks/run.py             all of them
    python3 notebooks/run.py 01 06       some of them
    python3 notebooks/run.py --store     keep the outputs of this run

Each runs from a clean kernel, in an empty folder, in an environment that has what its own ``pip install`` line names and
no more, with botwire from this working tree and without any model's key. Needs uv, or pip. Uses the standard library only;
what happens inside such an environment is in ``run_cells.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ENVIRONMENTS = ROOT / ".venv-test-notebooks"
RUNNER = ("ipykernel>=7", "nbclient>=0.10")
INSTALL = re.compile(r"pip install ([^`\n]+)")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Run the notebooks and compare their outputs with those stored.")
    parser.add_argument("numbers", nargs="*", help="which: 01, 02, ...; all unless given")
    parser.add_argument("--store", action="store_true", help="keep the outputs of this run")
    options = parser.parse_args(arguments)
    notebooks = [path for path in sorted(HERE.glob("[0-9]*.ipynb")) if not options.numbers or path.name[:2] in options.numbers]
    if not notebooks:
        print(f"no notebook is called {' or '.join(options.numbers)}", file=sys.stderr)
        return 2
    began = time.monotonic()
    pythons = {notebook: make(install_line(notebook)) for notebook in notebooks if can_run(notebook)}
    print(f"environments made in {time.monotonic() - began:.0f} s", flush=True)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        statuses = list(pool.map(lambda notebook: run(notebook, pythons[notebook], store=options.store), pythons))
    print(f"{len(pythons)} notebooks in {time.monotonic() - began:.0f} s")
    return max(statuses, default=0)


def can_run(notebook: Path) -> bool:
    if sys.version_info >= (3, 14) and "crewai" in install_line(notebook):
        print(f"{notebook.name}: CrewAI is not made for Python 3.14, so it is not run")
        return False
    return True


def run(notebook: Path, python: str, *, store: bool) -> int:
    """0 if the notebook gives what it has stored, and what it gives is stored if that is asked for."""
    began = time.monotonic()
    command = [python, str(HERE / "run_cells.py"), str(notebook), *(["--store"] if store else [])]
    ended = subprocess.run(command, env=surroundings(python), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ended.returncode:
        print(ended.stdout)
    outcome = "FAILED" if ended.returncode else "stored" if store else "as stored"
    print(f"{notebook.name}: {outcome} ({time.monotonic() - began:.0f} s)", flush=True)
    return ended.returncode


def install_line(notebook: Path) -> str:
    """What the notebook tells its reader to install: the first ``pip install`` in its text."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        found = INSTALL.search("".join(cell["source"]))
        if found:
            return found[1]
    sys.exit(f"{notebook.name} does not say what to install")


def make(packages: str) -> str:
    """The Python of an environment with these packages; notebooks that name the same ones share it."""
    folder = ENVIRONMENTS / re.sub(r"[^a-z0-9]+", "-", packages.lower()).strip("-")
    python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    if not folder.exists():
        venv.create(folder, symlinks=os.name != "nt")
    uv = shutil.which("uv")
    install = [uv, "pip", "install", "--python", python] if uv else [sys.executable, "-m", "pip", "--python", python, "install"]
    subprocess.run([*install, "--quiet", *wanted(packages), *RUNNER], cwd=ROOT, check=True)
    return python


def wanted(packages: str) -> list[str]:
    """The arguments for pip: botwire is that of this working tree."""
    names = packages.replace("'", "").split()
    return [argument for name in names for argument in (("-e", name.replace("botwire", ".")) if name.startswith("botwire") else (name,))]


def surroundings(python: str) -> dict[str, str]:
    """The caller's environment variables without the keys of models and what points botwire elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not re.match(r"BOTWIRE_|PYTHON|.*_API_KEY$", name)}
    return {**kept, "PATH": f"{Path(python).parent}{os.pathsep}{kept['PATH']}", "VIRTUAL_ENV": str(Path(python).parent.parent)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
