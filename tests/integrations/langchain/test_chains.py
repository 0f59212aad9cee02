"""Inside LangChain's own machinery: what it calls, what it swallows, and what two turns at once do."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel, ParrotFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from botwire import BotWireChatHistory, Memory, StoreUnavailable
from botwire.stores import open_store

# RunnableWithMessageHistory is deprecated in langchain-core 1 and to be removed in 2; until then it is in wide use.
pytestmark = pytest.mark.filterwarnings("ignore:.*RunnableWithMessageHistory.*")

CONFIG: Any = {"configurable": {"session_id": "user-42"}}


def texts(memory: Memory) -> list[Any]:
    return [message.text for message in memory.session("user-42").messages()]


def chain(memory: Memory, model: Runnable[Any, Any]) -> RunnableWithMessageHistory:
    """A chain whose input is a dict and whose prompt has a place for the history."""
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{input}")])
    factory = BotWireChatHistory.factory(memory=memory)
    return RunnableWithMessageHistory(prompt | model, factory, input_messages_key="input", history_messages_key="history")


def on_lists(memory: Memory, model: Any, factory: Any = None) -> RunnableWithMessageHistory:
    """A chain whose input is a list of messages."""
    return RunnableWithMessageHistory(model, factory or BotWireChatHistory.factory(memory=memory))


def test_a_chain_remembers(memory: Memory):
    talk = chain(memory, RunnableLambda(lambda prompt: AIMessage(f"{len(prompt.to_messages())} messages")))

    assert talk.invoke({"input": "a"}, CONFIG).content == "1 messages"
    assert talk.invoke({"input": "b"}, CONFIG).content == "3 messages"
    assert texts(memory) == ["a", "1 messages", "b", "3 messages"]


@pytest.mark.anyio
async def test_an_awaited_chain_remembers(memory: Memory):
    talk = chain(memory, ParrotFakeChatModel())
    await talk.ainvoke({"input": "a"}, CONFIG)
    await talk.ainvoke({"input": "b"}, CONFIG)

    assert texts(memory) == ["a", "a", "b", "b"]


def test_a_streamed_answer_is_stored_whole_once(memory: Memory):
    talk = chain(memory, GenericFakeChatModel(messages=iter([AIMessage("one two three")])))

    assert "".join(chunk.content for chunk in talk.stream({"input": "a"}, CONFIG)) == "one two three"
    (_, answer) = BotWireChatHistory("user-42", memory=memory).messages
    assert (type(answer), answer.content) == (AIMessageChunk, "one two three")


@pytest.mark.anyio
async def test_an_answer_streamed_asynchronously_is_stored_whole_once(memory: Memory):
    talk = chain(memory, GenericFakeChatModel(messages=iter([AIMessage("one two three")])))

    assert len([chunk async for chunk in talk.astream({"input": "a"}, CONFIG)]) > 1
    assert texts(memory) == ["a", "one two three"]


def test_a_batch_on_one_session_keeps_its_pairs_together(memory: Memory):
    chain(memory, ParrotFakeChatModel()).batch([{"input": str(n)} for n in range(12)], [CONFIG] * 12)

    said = texts(memory)
    assert sorted(said[::2], key=int) == [str(n) for n in range(12)]
    assert said[::2] == said[1::2]


def test_a_list_of_messages_as_input_is_stored_once(memory: Memory):
    talk = on_lists(memory, FakeListChatModel(responses=["A", "B"]))
    talk.invoke([HumanMessage("a")], CONFIG)
    talk.invoke([HumanMessage("b")], CONFIG)

    assert texts(memory) == ["a", "A", "b", "B"]


class Meanwhile:
    """A model during whose answer something happens to the session."""

    def __init__(self, memory: Memory, event: Any) -> None:
        self.session, self.event = memory.session("user-42"), event

    def __call__(self, messages: list[BaseMessage]) -> AIMessage:
        self.event(self.session)
        return AIMessage("A")


def add_a_turn(session: Any) -> None:
    session.append(("user", "B"), ("assistant", "b"))


def test_a_turn_of_another_request_in_between_costs_nobody_a_message(memory: Memory):
    on_lists(memory, RunnableLambda(Meanwhile(memory, add_a_turn))).invoke([HumanMessage("a")], CONFIG)

    assert texts(memory) == ["B", "b", "a", "A"]


def test_without_the_factory_such_a_turn_would_cost_the_users_message(memory: Memory):
    """Shows what the factory is for: LangChain counts the history's messages again after the model has answered."""
    live = on_lists(memory, RunnableLambda(Meanwhile(memory, add_a_turn)), lambda session_id: BotWireChatHistory(session_id, memory=memory))
    live.invoke([HumanMessage("a")], CONFIG)

    assert texts(memory) == ["B", "b", "A"]


def test_a_session_cleared_in_between_does_not_come_back(memory: Memory):
    memory.session("user-42").append(("user", "old"), ("assistant", "older"))
    on_lists(memory, RunnableLambda(Meanwhile(memory, lambda session: session.clear()))).invoke([HumanMessage("a")], CONFIG)

    assert texts(memory) == ["a", "A"]


def test_a_history_of_the_factory_is_live_again_after_it_wrote(memory: Memory):
    history = BotWireChatHistory.factory(memory=memory)("user-42")
    assert history.messages == []
    memory.session("user-42").append(("user", "hi"))
    assert history.messages == []

    history.add_ai_message("hello")
    assert [message.content for message in history.messages] == ["hi", "hello"]


class Gone:
    """A store that was there when the chain began."""

    def __init__(self, store: Any) -> None:
        self._store, self.url = store, store.url

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, batches: Any) -> Any:
        raise StoreUnavailable("the server went away")


def test_when_the_store_goes_away_the_chain_answers_and_the_loss_is_logged(url: str, caplog: pytest.LogCaptureFixture):
    store = open_store(url)
    memory = Memory(store=Gone(store))

    answer = chain(memory, FakeListChatModel(responses=["A"])).invoke({"input": "a"}, CONFIG)

    assert answer.content == "A"
    assert [record.levelno for record in caplog.records if record.name == "botwire" and "session 'user-42'" in record.getMessage()] == [
        logging.ERROR
    ]
    with pytest.raises(StoreUnavailable):
        BotWireChatHistory("user-42", memory=memory).add_user_message("a")
    store.close()


def test_a_classic_memory_works_on_it(memory: Memory):
    classic = pytest.importorskip("langchain_classic.memory", reason="langchain-classic is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # LangChain's, which it gives once a process
        buffer = classic.ConversationBufferMemory(chat_memory=BotWireChatHistory("user-42", memory=memory), return_messages=True)
    buffer.save_context({"input": "a"}, {"output": "A"})

    assert [m.content for m in buffer.load_memory_variables({})["history"]] == ["a", "A"]
    buffer.clear()
    assert texts(memory) == []
