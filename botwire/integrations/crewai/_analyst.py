"""What answers the questions that CrewAI's memory asks of a model, where there is none."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from crewai.memory.analyze import ConsolidationPlan, ExtractedMemories, MemoryAnalysis, QueryAnalysis
from crewai.memory.types import MemoryRecord
from crewai.utilities.i18n import I18N_DEFAULT
from pydantic import BaseModel

from botwire import InvalidValue

_RECORD = re.compile(r"^- id=(\S+) \| scope=", re.MULTILINE)
_SCOPES = re.compile(r"^Available scopes: (\[.*\])$", re.MULTILINE)


class LocalAnalyst:
    """Answers by fixed rules: what is given is remembered as it is, in the scope it is given for, once.

    It is no ``BaseLLM``, which CrewAI would turn into a dict when it copies an agent.

    Args:
        get_record: finds a record by its id, to tell whether a text is stored already.
    """

    def __init__(self, get_record: Callable[[str], MemoryRecord | None]) -> None:
        self._get_record = get_record

    def __deepcopy__(self, memo: dict[int, Any]) -> LocalAnalyst:
        return self

    def supports_function_calling(self) -> bool:
        """True: CrewAI then says which answer it wants."""
        return True

    def call(self, messages: str | Sequence[dict[str, Any]], response_model: type[BaseModel] | None = None, **_: Any) -> Any:
        """The answer, an object of ``response_model``; without one, an empty text.

        Raises:
            InvalidValue: if it is none of the four that CrewAI's memory asks for.
        """
        if response_model is None:
            return ""
        prompt = messages if isinstance(messages, str) else str(messages[-1]["content"])
        match response_model.__name__:
            case "ExtractedMemories":
                return ExtractedMemories(memories=[_between("extract_memories_user", "content", prompt)])
            case "MemoryAnalysis":
                # No metadata rather than empty lists, which CrewAI would store and print into every prompt.
                return MemoryAnalysis.model_construct(suggested_scope="/", categories=[], importance=0.5, extracted_metadata=None)
            case "QueryAnalysis":
                return self._query(prompt)
            case "ConsolidationPlan":
                return self._consolidate(prompt)
            case name:
                raise InvalidValue(f"without a model there is no {name}; give the memory one with llm=")

    def _query(self, prompt: str) -> QueryAnalysis:
        """All of the scope that is searched. CrewAI would search the first twenty of its child scopes, and not the scope itself."""
        found = _SCOPES.search(prompt)
        scopes: list[str] = []
        with suppress(ValueError, SyntaxError):
            scopes = ast.literal_eval(found[1]) if found else []
        parent = {scope.rpartition("/")[0] or "/" for scope in scopes if scope != "/"}
        query = _between("query_user", "query", prompt)
        return QueryAnalysis(suggested_scopes=sorted(parent) if len(parent) == 1 else [], recall_queries=[query])

    def _consolidate(self, prompt: str) -> ConsolidationPlan:
        content = _between("consolidation_user", "new_content", prompt)
        records = (self._get_record(identifier) for identifier in _RECORD.findall(prompt))
        is_stored = any(record is not None and record.content == content for record in records)
        return ConsolidationPlan(actions=[], insert_new=not is_stored)


def _between(prompt: str, field: str, text: str) -> str:
    """The value of a field in a text made of one of CrewAI's prompts; all of the text, if the prompt is not known here."""
    with suppress(Exception):  # a translation of the user's, or another version's: then the text as a whole is as good
        before, _, after = I18N_DEFAULT.memory(prompt).partition("{" + field + "}")
        after = after.partition("{")[0]
        if text.startswith(before) and after in text:
            end = text.rindex(after) if after else len(text)
            return text[len(before) : end]
    return text
