"""LangChain: chat histories, a byte store and a cache of model answers, all on botwire's memory."""

from botwire import MissingExtra

try:
    from botwire.integrations.langchain._cache import BotWireByteStore, BotWireCache
    from botwire.integrations.langchain._history import BotWireChatHistory
    from botwire.integrations.langchain._transfer import import_messages
except ModuleNotFoundError as error:
    if error.name != "langchain_core":
        raise  # something that langchain-core itself needs: its own message says what
    raise MissingExtra(
        "botwire.integrations.langchain needs the 'langchain-core' package; install it with: pip install 'botwire[langchain]'",
        name="langchain_core",
    ) from error

__all__ = ["BotWireByteStore", "BotWireCache", "BotWireChatHistory", "import_messages"]
