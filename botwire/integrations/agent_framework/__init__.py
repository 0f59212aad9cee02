"""Microsoft Agent Framework: conversations on botwire's memory."""

from botwire import MissingExtra

try:
    from botwire.integrations.agent_framework._history import BotWireHistoryProvider
except ModuleNotFoundError as error:
    if error.name != "agent_framework":
        raise  # something that it itself needs: its own message says what
    raise MissingExtra(
        "botwire.integrations.agent_framework needs the 'agent-framework-core' package; install it with:"
        " pip install 'botwire[agent-framework]'",
        name="agent_framework",
    ) from error

__all__ = ["BotWireHistoryProvider"]
