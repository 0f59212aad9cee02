"""LangGraph: a checkpointer and a long-term store on botwire's memory."""

from botwire import MissingExtra

try:
    import langgraph.checkpoint.base as _checkpoint  # noqa: F401 - asked for here, so that what is missing is named once
except ModuleNotFoundError as error:
    if error.name not in ("langgraph", "langgraph.checkpoint", "langgraph.checkpoint.base"):
        raise  # something that it needs: its own message says what
    raise MissingExtra(
        "botwire.integrations.langgraph needs the 'langgraph-checkpoint' package; install it with: pip install 'botwire[langgraph]'",
        name="langgraph",
    ) from error

from botwire.integrations.langgraph._saver import BotWireSaver

__all__ = ["BotWireSaver"]
