"""How facts get into a context: one message of each memory at any time, which is told by its first line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from autogen_core.model_context import ChatCompletionContext
from autogen_core.models import SystemMessage, UserMessage

from botwire import InvalidValue
from botwire.integrations.autogen._context import BotWireChatCompletionContext

SOURCE = "memory"
_MORE = "- (more is remembered than is shown here)"


class Facts:
    """A list of facts in words, of no more than so many characters."""

    def __init__(self, head: str, most: int) -> None:
        self._lines = [head]
        self._room, self._longest = most - len(_MORE) - 1, most // 8
        self.more = False

    def add(self, key: str, text: str) -> bool:
        """Add a fact, cut off if it is long; returns whether there was room for it."""
        line = "\n  ".join(f"- {key}: {text}".splitlines())
        if len(line) > self._longest:
            note = f"... [cut off, {len(text)} characters in all]"
            line = line[: self._longest - len(note)] + note
        if len(line) + 1 > self._room:
            return False
        self._room -= len(line) + 1
        self._lines.append(line)
        return True

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join([*self._lines, _MORE] if self.more else self._lines)


async def inject(context: ChatCompletionContext, mark: str, message: UserMessage | SystemMessage | None) -> None:
    """Let the context show ``message`` and no other one that begins with the line ``mark``.

    Raises:
        InvalidValue: if an older one cannot be removed, since the context's state is its own.
    """
    if isinstance(context, BotWireChatCompletionContext):
        context.put_note(mark, message)
        return
    if message is not None and [shown for shown in await context.get_messages() if _is_ours(dict(shown), mark)] == [message]:
        return
    await _remove(context, mark)
    if message is not None:
        await context.add_message(message)


async def _remove(context: ChatCompletionContext, mark: str) -> None:
    state = await context.save_state()
    messages = state.get("messages")
    if not isinstance(messages, list):
        raise InvalidValue(
            f"{type(context).__name__} keeps its messages in a way of its own, so that old facts cannot be replaced in it;"
            " use it as BotWireChatCompletionContext(session_id, inner=...)"
        )
    kept = [message for message in cast("list[Mapping[str, Any]]", messages) if not _is_ours(message, mark)]
    if len(kept) < len(cast("list[Any]", messages)):
        await context.load_state({**state, "messages": kept})


def _is_ours(message: Mapping[str, Any], mark: str) -> bool:
    content = message.get("content")
    told = message.get("type") == "SystemMessage" or message.get("source") == SOURCE
    return told and isinstance(content, str) and content.startswith(f"{mark}\n")
