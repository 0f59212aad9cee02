"""AutoGen (autogen-agentchat 0.7): facts, transcripts, teams and a cache of model answers on botwire's memory.

The other lines that are called AutoGen have modules of their own: ``botwire.integrations.autogen_classic``
(``import autogen``), ``botwire.integrations.ag2`` and ``botwire.integrations.agent_framework``.
"""

from botwire import MissingExtra

try:
    from botwire.integrations.autogen._cache import BotWireCacheStore
    from botwire.integrations.autogen._context import BotWireChatCompletionContext
    from botwire.integrations.autogen._memory import BotWireMemory
    from botwire.integrations.autogen._team import BotWireTeamSession
    from botwire.integrations.autogen._tools import BotWireMemoryTool
except ModuleNotFoundError as error:
    if error.name not in ("autogen_agentchat", "autogen_core"):
        raise  # something that they themselves need: their own message says what
    raise MissingExtra(
        "botwire.integrations.autogen needs the 'autogen-agentchat' package; install it with: pip install 'botwire[autogen]'"
        " (for agents of 'import autogen' there is botwire.integrations.autogen_classic)",
        name=error.name,
    ) from error

__all__ = [
    "BotWireCacheStore",
    "BotWireChatCompletionContext",
    "BotWireMemory",
    "BotWireMemoryTool",
    "BotWireTeamSession",
]
