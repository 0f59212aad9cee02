"""``botwire doctor`` tells of what grows, what is left over, and what a store of another kind warns of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from botwire import Memory
from botwire.cli._doctor import Report, _contents
from botwire.cli._doctor_upkeep import LONG_LOG, add_upkeep
from botwire.server import serve_in_thread
from botwire.stores import open_store


def findings(botwire: Any, url: str) -> dict[str, tuple[str, str]]:
    report = json.loads(botwire("doctor", "--url", url, "--json").stdout)
    return {finding["what"]: (finding["level"], finding["detail"]) for finding in report["findings"]}


def test_it_tells_schema_and_sizes(tmp_path: Path, botwire: Any) -> None:
    url = f"sqlite://{tmp_path}/m.db"
    Memory("ns", url=url).set("a", 1)
    found = findings(botwire, url)
    assert found["schema"][0] == "ok"
    assert found["size"][0] == "ok"
    assert "left over" not in found


def test_it_tells_what_has_expired_and_is_still_there(tmp_path: Path, botwire: Any) -> None:
    from botwire.stores.sqlite import SQLiteStore

    store = SQLiteStore(f"sqlite://{tmp_path}/m.db", clock=lambda: 1_000_000)
    Memory("ns", store=store).set("a", 1, ttl=1)
    store.close()
    level, detail = findings(botwire, store.url)["expired"]
    assert (level, detail.startswith("1 row has expired")) == ("ok", True)


def test_it_reminds_of_what_a_restore_put_aside_and_a_backup_left(tmp_path: Path, botwire: Any) -> None:
    url, copy = f"sqlite://{tmp_path}/m.db", str(tmp_path / "copy.db")
    Memory("ns", url=url).set("a", 1)
    assert botwire("backup", copy, "--url", url).returncode == 0
    assert botwire("restore", copy, "--url", url, "--force").returncode == 0
    level, detail = findings(botwire, url)["left over"]
    assert (level, "before-restore" in detail) == ("warning", True)
    (tmp_path / ".botwire-backup-0123").touch()
    report = json.loads(botwire("doctor", "--url", url, "--json").stdout)
    assert sum(finding["what"] == "left over" for finding in report["findings"]) == 2


def test_a_long_log_and_much_unused_space_are_warned_of(tmp_path: Path) -> None:
    report = Report("store", "why", figures={"bytes": 1 << 30, "free_bytes": 900 << 20, "entry_expired": 20_000})
    add_upkeep(report, None)
    assert [(finding.level, finding.what) for finding in report.findings] == [("warning", "expired"), ("warning", "size")]
    with open(tmp_path / "m.db-wal", "wb") as log:
        log.truncate(LONG_LOG + 1)
    report = Report("store", "why", figures={"bytes": 1 << 30})
    add_upkeep(report, str(tmp_path / "m.db"))
    assert "restart what uses the file" in report.findings[0].detail


def test_what_another_store_warns_of_is_told() -> None:
    class Other:
        url = "other://"

        def check(self) -> Any:
            return {
                "ok": True,
                "problems": [],
                "advice": [("warning", "settings", "maxmemory-policy is allkeys-lru: memories are thrown away when it is full")],
            }

    report = Report("other://", "why")
    _contents(report, Other())  # type: ignore[arg-type]
    assert [(finding.level, finding.what) for finding in report.findings] == [("warning", "settings"), ("ok", "contents")]


def test_of_a_server_it_tells_what_the_server_found(botwire: Any) -> None:
    store = open_store("memory://")
    Memory("ns", store=store).set("a", 1)
    with serve_in_thread(store) as url:
        found = findings(botwire, url)
    assert found["contents"][0] == "ok"
    store.close()
