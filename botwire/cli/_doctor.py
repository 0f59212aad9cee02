"""What ``botwire doctor`` looks at."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from botwire._errors import BotWireError
from botwire.cli._doctor_upkeep import add_upkeep
from botwire.cli._figures import file_of
from botwire.cli._output import console, plural, safe_line, size_text, styled
from botwire.stores._protocol import Store

Level = Literal["ok", "warning", "problem"]

FIXED_SQLITE = (3, 51, 3)
"""The first SQLite in which resetting the log cannot corrupt the file under concurrent checkpoints."""
LITTLE_SPACE = 64 * 1024 * 1024
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|9p|afs|ceph|glusterfs|lustre|beegfs|gpfs|ocfs2|gfs2|ncpfs|virtiofs|vboxsf"
    r"|fuse\.(sshfs|s3fs|rclone|gcsfuse|glusterfs|ceph\S*|nfs\S*)"
)
_IN_RAM = "is gone when the machine restarts"
_PASSING = {"tmpfs": _IN_RAM, "ramfs": _IN_RAM, "overlay": "may go with its container"}
_MARKS: dict[Level, tuple[str, str]] = {"ok": ("ok      ", "green"), "warning": ("warning ", "yellow"), "problem": ("PROBLEM ", "bold red")}


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Level
    what: str
    detail: str


@dataclass
class Report:
    """All that was found."""

    store: str
    why: str
    findings: list[Finding] = field(default_factory=list[Finding])
    figures: dict[str, Any] = field(default_factory=dict[str, Any])

    def add(self, level: Level, what: str, detail: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(level, what, detail))

    @property
    def problems(self) -> int:
        """How many problems there are."""
        return sum(finding.level == "problem" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many warnings there are."""
        return sum(finding.level == "warning" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        findings = [finding._asdict() for finding in self.findings]
        return {"ok": not self.problems, "store": self.store, "why": self.why, "findings": findings, "check": self.figures}

    def show(self) -> None:
        """For people."""
        screen = console()
        screen.print(styled((f"{self.store}", "bold"), (f"  ({self.why})", "dim")))
        for level, what, detail in self.findings:
            screen.print(styled(_MARKS[level], (f"{what}: ", "bold"), safe_line(detail)))
        screen.print(styled(f"{plural(self.problems, 'problem')}, {plural(self.warnings, 'warning')}"))


def examine(open_it: Callable[[], Store], url: str, why: str) -> Report:
    """Look at the store that ``open_it`` opens."""
    try:
        store = open_it()
    except BotWireError as error:
        report = Report(url.partition("://")[0] + "://...", why)
        report.add("problem", "store", str(error))
        return report
    report = Report(store.url, why)
    path = file_of(store)
    if path is not None:
        _sqlite_version(report)
        _file_system(report, path)
        _permissions(report, path)
        _space(report, path)
    _durability(report, url)
    _transport(report, store.url)
    _contents(report, store)
    return report


def _contents(report: Report, store: Store) -> None:
    try:
        report.figures = store.check()
    except BotWireError as error:
        report.add("problem", "contents", str(error))
        return
    for problem in report.figures.get("problems", []):
        report.add("problem", "contents", f"{problem}; save what can be read with `botwire export`, or restore a backup")
    for advice in report.figures.pop("advice", []):  # of a server's settings, by the store that knows it
        report.findings.append(Finding(*advice))
    if report.figures.get("ok"):
        report.add("ok", "contents", report.figures.get("note") or _contents_text(report.figures))
    add_upkeep(report, file_of(store))


def _contents_text(figures: dict[str, Any]) -> str:
    rows = {name: figures.get(f"{name}_rows") for name in ("entry", "log", "message")}
    if not all(isinstance(count, int) for count in rows.values()):
        return "examined, nothing is wrong"
    kinds = (plural(rows["entry"] or 0, "entry", "entries"), plural(rows["log"] or 0, "session"), plural(rows["message"] or 0, "message"))
    return f"{', '.join(kinds)}: examined, nothing is wrong"


def _sqlite_version(report: Report) -> None:
    import apsw

    text = apsw.sqlite_lib_version()
    version = tuple(int(part) for part in text.split(".")[:3])
    if version < FIXED_SQLITE:
        report.add("problem", "SQLite", f"{text} has a bug that can corrupt a file used by several processes; upgrade apsw")
    else:
        report.add("ok", "SQLite", text)


def _durability(report: Report, url: str) -> None:
    if "durability=normal" in url.partition("?")[2]:
        report.add("warning", "durability", "normal: the last acknowledged writes may be lost when the power goes; full loses none")


def _transport(report: Report, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and not _is_local(parts.hostname or ""):
        report.add("warning", "transport", "http beyond this machine: others on the way can read memory and token; use https")


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# ------------------------------------------------------------------------------------------ the file


def _file_system(report: Report, path: str) -> None:
    found = file_system_of(path)
    if found is None:
        return
    mount, kind = found
    if _NETWORK.fullmatch(kind):
        advice = "over a network locks cannot be relied on; use a local disk, or `botwire serve`"
        report.add("problem", "file system", f"{kind} at {mount}: {advice}")
    elif kind in _PASSING:
        report.add("warning", "file system", f"{kind} at {mount}: what is there {_PASSING[kind]}")
    else:
        report.add("ok", "file system", f"{kind} at {mount}")


def file_system_of(path: str, mounts: str = "/proc/mounts") -> tuple[str, str] | None:
    """Where the file system that holds ``path`` is mounted, and its kind: the mount whose folder is the longest prefix.

    None where the system does not list its mounts.
    """
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    best: tuple[str, str] | None = None
    for line in lines:
        fields = line.split(" ")
        mount = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1]) if len(fields) > 2 else ""
        holds = f"{real}/".startswith(mount.rstrip("/") + "/")
        if mount and holds and (best is None or len(mount) >= len(best[0])):  # the later of equal ones hides the earlier
            best = mount, fields[2]
    return best


def _permissions(report: Report, path: str) -> None:
    file, folder = Path(path), Path(path).parent
    if not file.exists():
        return
    mode, folder_mode = file.stat().st_mode, folder.stat().st_mode
    findings: list[tuple[Level, str]] = []
    if os.name == "posix" and mode & 0o077:
        findings.append(("problem", f"{path} has mode {stat.S_IMODE(mode):04o}: other users can get at it; chmod 600 {path}"))
    if os.name == "posix" and folder_mode & 0o002 and not folder_mode & stat.S_ISVTX:
        findings.append(("problem", f"{folder} can be written by every user, who could replace the file; chmod o-w {folder}"))
    if not os.access(path, os.W_OK) or not os.access(folder, os.W_OK):
        findings.append(("problem", f"{path} or its folder cannot be written by this user"))
    for level, detail in findings or [("ok", f"{path} has mode {stat.S_IMODE(mode):04o}")]:
        report.add(level, "permissions", detail)


def _space(report: Report, path: str) -> None:
    folder = Path(path).parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < LITTLE_SPACE:
        report.add("warning", "space", f"{size_text(free)} free: writes fail once there is none")
    else:
        report.add("ok", "space", f"{size_text(free)} free")
