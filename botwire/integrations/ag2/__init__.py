"""AG2 (``import ag2``, from 1.0 on): a stream's history and an agent's knowledge in botwire's memory."""

from botwire import MissingExtra

try:
    from botwire.integrations.ag2._knowledge import BotWireKnowledgeStore
    from botwire.integrations.ag2._storage import BotWireStorage, botwire_stream
except ModuleNotFoundError as error:
    if error.name != "ag2":
        raise  # something that ag2 itself needs, or an ag2 before 1.0: its own message says what
    raise MissingExtra(
        "botwire.integrations.ag2 needs the 'ag2' package, version 1.0 or newer; install it with: pip install 'botwire[ag2]'."
        " For the agents of older ones (import autogen) there is botwire.integrations.autogen_classic",
        name="ag2",
    ) from error

__all__ = ["BotWireKnowledgeStore", "BotWireStorage", "botwire_stream"]
