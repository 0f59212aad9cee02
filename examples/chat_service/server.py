"""A chat service: conversations over HTTP, answers as a stream, memory that outlives the process.

python server.py            at http://127.0.0.1:8000; PORT chooses another port
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from botwire import AsyncMemory, Message

memory = AsyncMemory("chat-service")  # BOTWIRE_URL says where that lies, else it is a file in your data directory
app = FastAPI(title="chat")


class Question(BaseModel):
    """What is posted to a chat."""

    text: str


@app.post("/chats/{chat_id}")
async def ask(chat_id: str, question: Question) -> StreamingResponse:
    """Answer, piece by piece. Question and answer are stored in one step, before the stream ends."""
    session = memory.session(chat_id)
    before = await session.messages(last=20)

    async def answer() -> AsyncIterator[str]:
        pieces: list[str] = []
        async for piece in model([*before, Message("user", question.text)]):
            pieces.append(piece)
            yield piece
        await session.append(("user", question.text), ("assistant", "".join(pieces)))

    return StreamingResponse(answer(), media_type="text/plain")


@app.get("/chats/{chat_id}")
async def read(chat_id: str) -> list[dict[str, Any]]:
    return [message.to_dict() for message in await memory.session(chat_id).messages()]


@app.delete("/chats/{chat_id}")
async def forget(chat_id: str) -> None:
    if not await memory.delete_session(chat_id):
        raise HTTPException(404, "there is no such chat")


async def scripted(messages: list[Message]) -> AsyncIterator[str]:
    """Stands in for a model; like one, it knows only what it is shown."""
    for word in ("You", " said: ", " / ".join(message.text for message in messages if message.role == "user")):
        yield word


async def openai(messages: list[Message]) -> AsyncIterator[str]:
    """Any service that speaks OpenAI's chat completions."""
    url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1") + "/chat/completions"
    headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    body = {"model": os.environ.get("OPENAI_MODEL", "gpt-5-mini"), "stream": True, "messages": [message.to_dict() for message in messages]}
    async with httpx.AsyncClient(timeout=60) as client, client.stream("POST", url, headers=headers, json=body) as reply:
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                for choice in json.loads(line.removeprefix("data: "))["choices"]:
                    yield choice["delta"].get("content") or ""


model = openai if "OPENAI_API_KEY" in os.environ else scripted

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
