"""Who may import what from outside botwire, and that nothing is named that must not be.

Which of botwire's own modules may know which is said by the contracts in pyproject.toml, which `lint-imports` checks.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

OUTSIDE = {
    "botwire.stores.http": {"httpcore", "httpx"},
    "botwire.stores.postgres": {"psycopg", "psycopg_pool"},
    "botwire.stores.redis": {"redis"},
    "botwire.stores.sqlite": {"apsw"},
    "botwire.cli._doctor": {"apsw"},  # examines what SQLite is in use
    "botwire.cli._store": {"apsw"},
    "botwire.stores._open": {"platformdirs"},
    "botwire._trace": {"opentelemetry"},
    "botwire.server": {"prometheus_client", "pydantic", "starlette", "uvicorn"},
    "botwire.cli": {"rich", "typer"},
    "botwire.testing": {"pytest"},
    "botwire.integrations.langchain": {"langchain_core", "pydantic"},
    "botwire.integrations.langgraph": {"langchain_core", "langgraph"},
    "botwire.integrations.autogen": {"PIL", "autogen_agentchat", "autogen_core", "pydantic"},
    "botwire.integrations.autogen_classic": {"PIL", "autogen"},
    "botwire.integrations.ag2": {"ag2", "pydantic"},
    "botwire.integrations.agent_framework": {"agent_framework"},
    "botwire.integrations.crewai": {"crewai", "numpy", "pydantic"},
    "botwire.integrations.mcp": {"anyio", "mcp", "mcp_types", "starlette", "uvicorn"},
}
"""Packages that modules may import besides the standard library, by the start of the module's name. All others: none."""


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function, but not for annotations alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def module_name(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def source_files(root: Path) -> list[Path]:
    return sorted((root / "botwire").rglob("*.py"))


def test_each_module_imports_only_the_packages_it_may(root: Path):
    wrong: list[str] = []
    for path in source_files(root):
        module = module_name(root, path)
        allowed = {"botwire", *sys.stdlib_module_names}
        for start, packages in OUTSIDE.items():
            if module == start or module.startswith((f"{start}.", f"{start}_")):
                allowed |= packages
        wrong += [f"{module} imports {name}" for name in imports(path) if name.partition(".")[0] not in allowed]

    assert not wrong


def test_imports_are_absolute(root: Path):
    relative = [
        f"{module_name(root, path)}:{node.lineno}"
        for path in source_files(root)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert not relative


def test_importing_the_integrations_package_imports_no_adapter(root: Path):
    assert list(imports(root / "botwire" / "integrations" / "__init__.py")) == []


@pytest.mark.parametrize("package", ["integrations"])
def test_what_an_adapter_imports_of_botwire_is_public(root: Path, package: str):
    private = [
        f"{path.name} imports {name}"
        for path in sorted((root / "botwire" / package).rglob("*.py"))
        for name in imports(path)
        if name.startswith("botwire._")
    ]

    assert not private
