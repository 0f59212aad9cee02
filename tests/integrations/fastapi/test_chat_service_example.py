"""The chat service of examples/chat_service, as a user runs it: its own process, over HTTP, with restarts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from model_stub import ModelStub, serving


class Service:
    """The example, in a process of its own."""

    def __init__(self, program: Path) -> None:
        self.program = program
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self.process: subprocess.Popen[str] | None = None

    def start(self, **settings: str) -> None:
        environment = {**os.environ, **settings, "PORT": str(self.port)}
        self.process = subprocess.Popen([sys.executable, str(self.program)], env=environment, stderr=subprocess.PIPE, text=True)
        assert any("running on" in line for line in self.process.stderr)

    def kill(self) -> None:
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL
        self.process.stderr.close()

    def ask(self, chat: str, text: str) -> str:
        return self.client.post(f"/chats/{chat}", json={"text": text}).raise_for_status().text

    def texts(self, chat: str) -> list[str]:
        return [message["content"] for message in self.client.get(f"/chats/{chat}").raise_for_status().json()]


@pytest.fixture
def service(root: Path) -> Iterator[Service]:
    service = Service(root / "examples" / "chat_service" / "server.py")
    yield service
    if service.process.poll() is None:
        service.kill()
    service.client.close()


@pytest.fixture
def stub() -> Iterator[ModelStub]:
    with serving() as stub:
        yield stub


def test_a_conversation_goes_on_after_the_service_was_killed(service: Service):
    service.start()
    assert service.ask("ada", "I like tea.") == "You said: I like tea."
    service.kill()
    service.start()
    assert service.ask("ada", "And chess.") == "You said: I like tea. / And chess."
    assert service.texts("ada") == ["I like tea.", "You said: I like tea.", "And chess.", "You said: I like tea. / And chess."]
    assert service.texts("bob") == []


def test_questions_asked_at_the_same_time_keep_their_answers(service: Service):
    service.start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: service.ask("ada", f"question {number}"), range(16)))
    texts = service.texts("ada")
    assert len(texts) == 32
    assert all(answer.endswith(question) for question, answer in zip(texts[::2], texts[1::2], strict=True))


def test_a_chat_can_be_forgotten_once(service: Service):
    service.start()
    service.ask("ada", "hello")
    assert [service.client.delete("/chats/ada").status_code for _ in range(2)] == [200, 404]
    assert service.texts("ada") == []


def test_a_real_model_answers_where_its_key_is_set(service: Service, stub: ModelStub):
    service.start(**stub.settings)
    assert service.ask("ada", "one").split() == ["I", "see", "1."]
    assert service.ask("ada", "two").split() == ["I", "see", "3."]
    assert stub.seen[-1][-1] == {"role": "user", "content": "two"}


def test_an_answer_comes_as_it_is_made_and_nothing_is_kept_of_one_that_nobody_waited_for(service: Service, stub: ModelStub):
    service.start(**stub.settings)
    stub.gate.clear()  # the model says one word and no more
    with service.client.stream("POST", "/chats/ada", json={"text": "hello"}) as answer:
        assert next(answer.iter_text()).strip() == "I"
    assert stub.abandoned.wait(30), "the service still listens to the model although its client has gone"
    assert service.texts("ada") == []
