"""What a topic is given: how thorough to be, and where to write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

VALUE = {
    "theme": "dark",
    "language": "en",
    "notes": "prefers short answers, metric units, and code before prose; asks twice when something is not clear",
    "seen": ["onboarding", "billing", "export"],
    "visits": 42,
}
"""An entry's value: about 200 bytes of JSON."""


@dataclass(frozen=True)
class Settings:
    """How thorough to be, and where to write."""

    folder: Path
    quick: bool = False

    def rounds(self, full: int) -> int:
        """So many rounds in a full run; three in a quick one."""
        return min(full, 3) if self.quick else full

    def size(self, full: int, quick: int) -> int:
        """A size that differs between a full and a quick run."""
        return quick if self.quick else full

    def place(self, name: str) -> Path:
        """A new folder for a topic's files."""
        folder = self.folder / name
        folder.mkdir()
        return folder


def message(writer: int, index: int) -> dict[str, str]:
    """A message of about 110 bytes that tells who wrote it, and as which of theirs."""
    return {"role": "user", "content": f"{writer}:{index} please book the table for four at seven, by the window if they have it"}
