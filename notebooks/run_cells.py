"""Run one notebook with the Python that runs this, and compare: ``run.py`` calls it inside the notebook's environment.

What is compared is everything a reader sees, letter by letter, with one exception: of a picture only that there is one, since its
bytes differ from one version of matplotlib to the next.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from traitlets.config import Config

SECONDS_FOR_A_CELL = 120
NOT_FOR_READERS = ("Traceback (most recent call last)", tempfile.gettempdir() + os.sep, "object at 0x")
"""What no output may hold: of a program that a cell starts with ``!``, IPython does not say that it failed."""
COLOURS = re.compile(r"\x1b\[[\d;]*m")


def main(path: Path, *, store: bool) -> int:
    stored = nbformat.read(path, as_version=4)
    given = nbformat.from_dict(stored)
    for _, cell in code_cells(given):
        cell.update(execution_count=None, outputs=[])
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        isolate(Path(folder))
        settings = Config(KernelManager={"transport": "ipc", "ip": f"{folder}/kernel"})  # over TCP it warns of eavesdroppers
        client = NotebookClient(given, config=settings, timeout=SECONDS_FOR_A_CELL, resources={"metadata": {"path": folder}})
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            return fail(path, failed_cell(given), COLOURS.sub("", str(error)))
    for number, cell in code_cells(given):
        if found := next((sign for sign in NOT_FOR_READERS if sign in shown(cell)), None):
            return fail(path, number, f"the output holds {found!r}:\n{shown(cell)}")
    if store:
        nbformat.write(tidy(given), path)
        return 0
    return compare(path, stored, given)


def isolate(folder: Path) -> None:
    """The kernel and all that it starts have an empty home, without settings or memory of anybody's, and leave nothing behind."""
    home = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(folder))
    os.environ.update(home, JUPYTER_PLATFORM_DIRS="1", IPYTHONDIR=str(folder / "ipython"))
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]


def code_cells(notebook: Any) -> Iterator[tuple[int, Any]]:
    """With their numbers, counted from 1 over cells of every kind, as one counts them on the screen."""
    return ((number, cell) for number, cell in enumerate(notebook.cells, 1) if cell.cell_type == "code")


def failed_cell(notebook: Any) -> int:
    """The last cell that began."""
    return max((number for number, cell in code_cells(notebook) if cell.get("execution_count") or cell.outputs), default=1)


def compare(path: Path, stored: Any, given: Any) -> int:
    status = 0
    for (number, before), (_, now) in zip(code_cells(stored), code_cells(given), strict=True):
        lines = [shown(cell).splitlines() for cell in (before, now)]
        difference = "\n".join(difflib.unified_diff(*lines, "stored", "given by this run", lineterm=""))
        if difference:
            status = fail(path, number, f"{before.source}\n\n{difference}")
    return status


def shown(cell: Any) -> str:
    """All that a reader sees below a cell, as text."""
    parts: list[str] = []
    last = ""
    for output in cell.outputs:
        if output.output_type == "stream":
            # What is printed arrives in pieces that depend on timing.
            parts.append(output.text if output.name == last else f"[{output.name}]\n{output.text}")
            last = output.name
        else:
            last = ""
            parts.extend(f"\n[{kind}]\n{data(kind, output.data[kind])}\n" for kind in sorted(output.get("data", {})))
    return "".join(parts)


def data(kind: str, value: Any) -> str:
    return "a picture" if kind.startswith("image/") else str(value)


def tidy(notebook: Any) -> Any:
    """Nothing that changes though no cell did: no times, no random ids, no version of Python."""
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"] = f"cell-{number}"
        cell["metadata"] = {}
        if cell.cell_type == "code":
            cell["outputs"] = joined(cell.outputs)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    return notebook


def joined(outputs: list[Any]) -> list[Any]:
    result: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and result and result[-1].get("name") == output.name:
            result[-1]["text"] += output.text
        else:
            result.append(output)
    return result


def fail(path: Path, number: int, why: str) -> int:
    print(f"\n{path.name}, cell {number}:\n{why}\n", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), store="--store" in sys.argv[2:]))
