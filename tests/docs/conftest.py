"""Says at the end how many code blocks the documents hold, and how many of them no test runs, and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from reading import RUNNABLE, blocks_of

ROOT = Path(__file__).resolve().parent.parent.parent


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    blocks = [block for page in pages for block in blocks_of(page.read_text(encoding="utf-8")) if block.language in RUNNABLE]
    left_out = Counter(block.reason for block in blocks if block.reason)
    reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.most_common())
    count = f"{len(blocks)} code blocks in {len(pages)} files, {sum(left_out.values())} of them not run"
    terminalreporter.write_line(f"documents: {count} ({reasons})")
