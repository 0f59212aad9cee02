"""LangGraph: a checkpointer and a long-term store on botwire's memory."""

from botwire import MissingExtra

try:
    from botwire.integrations.langgraph._saver import BotWireSaver
    from botwire.integrations.langgraph._store import BotWireStore
except ModuleNotFoundError as error:
    if error.name not in ("langchain_core", "langgraph", "langgraph.checkpoint"):
        raise  # something that they themselves need: their own message says what
    raise MissingExtra(
        "botwire.integrations.langgraph needs the 'langgraph-checkpoint' package; install it with: pip install 'botwire[langgraph]'",
        name=error.name,
    ) from error

__all__ = ["BotWireSaver", "BotWireStore"]
