"""Conversations that LangChain's other chat histories keep, taken over into sessions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage, messages_from_dict

from botwire import AsyncMemory, InvalidValue, Memory
from botwire.integrations.langchain._history import BotWireChatHistory
from botwire.integrations.langchain._tagged import Objects


def import_messages(
    rows: Iterable[tuple[str, str | bytes | Mapping[str, Any]]],
    *,
    namespace: str = "default",
    memory: Memory | AsyncMemory | None = None,
    url: str | None = None,
    objects: Objects = "refuse",
) -> dict[str, int]:
    """Put messages that another chat history keeps into sessions, and read them back to see that they are equal.

    Args:
        rows: session id and message, oldest first; a message in the form of LangChain's ``message_to_dict``, as a dict or its JSON
            text, which is what ``SQLChatMessageHistory``, the Redis lists of langchain-community and langchain-postgres hold.
        namespace: the namespace of the sessions.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``.
        url: where memory lies; as for ``Memory``.
        objects: as for ``BotWireChatHistory``.

    Returns:
        How many messages were put into each session.

    Raises:
        InvalidValue: if a row holds no message, by session and position, or a session already has messages. Nothing is
            written then; all sessions are looked at first.
    """
    sessions: dict[str, list[BaseMessage]] = {}
    for session_id, row in rows:
        found = sessions.setdefault(session_id, [])
        found.append(_message(row, f"message {len(found) + 1} of session {session_id!r:.80}"))
    open_history = BotWireChatHistory.factory(namespace=namespace, memory=memory, url=url, objects=objects)
    for session_id in sessions:
        if there := len(open_history(session_id)):
            raise InvalidValue(f"session {session_id!r:.80} already has {there} messages; import into another namespace, or clear it first")
    for session_id, messages in sessions.items():
        history = open_history(session_id)
        history.add_messages(messages)
        if objects == "refuse" and history.messages != messages:
            raise InvalidValue(f"session {session_id!r:.80} does not read back as it was; clear it, and report this")
    return {session_id: len(messages) for session_id, messages in sessions.items()}


def _message(row: str | bytes | Mapping[str, Any], where: str) -> BaseMessage:
    try:
        shape = row if isinstance(row, Mapping) else json.loads(row)
        (message,) = messages_from_dict([dict(shape)])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidValue(f"{where} is not a message of LangChain's: {error!r:.200}") from error
    return message
