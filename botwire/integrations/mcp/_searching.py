"""Search, a page at a time."""

from __future__ import annotations

from typing import Any, TypeAlias

from botwire import SearchHit
from botwire.integrations.mcp._cursors import make_cursor, read_cursor
from botwire.integrations.mcp._results import Budget
from botwire.integrations.mcp._tools import Call

Rank: TypeAlias = tuple[float, float]
"""The order of hits: by score, then by time, both descending; what ties in both is in the order of keys."""


async def search_page(call: Call, query: str, limit: int, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """Hits as far as they fit the budget, and the cursor of what is beyond.

    A cursor says after which hit to go on, and how many there were before it: so many are asked for in addition.
    """
    asked = ["search", call.namespace, query]
    position = read_cursor(asked, cursor, float, float, str, int)
    after, before = (None, 0) if position is None else (((position[0], position[1]), str(position[2])), int(position[3]))
    beyond = await _beyond(call, query, limit + 1, after, before)
    budget, page = Budget(call.settings.max_result_bytes - 1_600), list[SearchHit]()
    for hit in beyond[:limit]:
        if not budget.takes(_item(hit)):
            break
        page.append(hit)
    if len(page) == len(beyond):
        return [_item(hit) for hit in page], None
    last = page[-1]  # one always fits: a snippet is short
    return [_item(hit) for hit in page], make_cursor(asked, *_rank(last), last.key, before + len(page))


async def _beyond(call: Call, query: str, wanted: int, after: tuple[Rank, str] | None, before: int) -> list[SearchHit]:
    """At least ``wanted`` hits after the one named, or all there are."""
    ask = before + wanted
    while True:
        hits = await call.memory.search(query, ask)
        beyond = hits if after is None else [hit for hit in hits if _comes_after(hit, *after)]
        if len(hits) < ask or len(beyond) >= wanted:
            return beyond
        ask *= 2  # others have written since, what comes before the cursor


def _comes_after(hit: SearchHit, rank: Rank, key: str) -> bool:
    return _rank(hit) < rank or (_rank(hit) == rank and hit.key > key)


def _rank(hit: SearchHit) -> Rank:
    return float(hit.score), hit.entry.updated_at.timestamp()


def _item(hit: SearchHit) -> dict[str, Any]:
    snippet = hit.snippet.encode("utf-8", "backslashreplace").decode()
    return {"key": hit.key, "snippet": snippet, "score": round(hit.score, 3)}
