"""The documentation that the server gives of itself is whole, and its lines work."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from botwire._errors import BotWireError
from botwire._tokens import TokenBook, make_token
from botwire._wire import error_of
from botwire.server._app import _routes
from botwire.server._openapi import CODES, ROUTES, document


def test_the_page_loads_nothing_from_anywhere(client: Any) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"<script|<link|<img|@import|url\(", page.text)


def test_every_link_in_the_page_has_its_place(client: Any) -> None:
    text = client.get("/docs").text
    for target in set(re.findall(r'href="#([^"]+)"', text)):
        assert f'id="{target}"' in text, target


def test_every_problem_is_explained_where_its_type_points(client: Any) -> None:
    text = client.get("/docs").text
    problem = client.get("/memory/ns/none").json()
    assert problem["type"] == "/docs#not_found"
    for code in CODES:
        assert f'id="{code}"' in text


def test_every_error_that_can_reach_a_client_has_its_code_explained() -> None:
    elsewhere = {"error", "unsupported", "closed", "missing_extra", "store_incompatible"}  # never or hardly ever sent

    def family(kind: type[BotWireError]) -> list[type[BotWireError]]:
        return [kind, *(member for child in kind.__subclasses__() for member in family(child))]

    codes = {kind.code for kind in family(BotWireError) if kind.__module__ == BotWireError.__module__}  # not those of commands
    assert codes - elsewhere <= CODES.keys()
    for code in CODES.keys() & codes:
        error = error_of({"code": code, "detail": "so"})
        assert error is not None
        assert error.code == code


def test_the_document_has_every_route_of_the_app() -> None:
    class NoService:
        pass

    served = {route.path for route in _routes(NoService())}  # type: ignore[arg-type]
    assert served - {"/", "/docs", "/openapi.json", "/records/{namespace}"} == set(document()["paths"])


def test_the_document_is_valid_json_schema_with_no_loose_ends() -> None:
    text = json.dumps(document())
    for name in set(re.findall(r'"#/components/schemas/(\w+)"', text)):
        assert name in document()["components"]["schemas"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_curl_line_of_the_page_works(url: str, client: Any, store: Any, tmp_path: Path) -> None:
    lines = [unescape(line) for line in re.findall(r"<pre>(curl [^<]*)</pre>", client.get("/docs").text)]
    assert len(lines) == len(ROUTES)
    order = sorted(lines, key=lambda line: ("-X DELETE" in line, "PUT" not in line))
    TokenBook(store).add(make_token(namespaces=["n"])[1]._replace(id="k3f9w2qd"))  # the one that the page's line revokes
    text, admin = make_token(scopes=["admin"])
    TokenBook(store).add(admin)
    client.headers["Authorization"] = f"Bearer {text}"
    for line in order:
        assert url in line
        if "$BOTWIRE_TOKEN" in line:
            line = line.replace("$BOTWIRE_TOKEN", text)  # noqa: PLW2901 - as the shell does
        else:
            line += f' -H "Authorization: Bearer {text}"'  # noqa: PLW2901 - as the page says at its top
        if "my-agent/user-42" in line and "-X POST" in line:
            line = line.replace("user-42", "a-number")  # noqa: PLW2901 - in the page each line is tried on its own
        client.put("/memory/my-agent/user-42", json={"value": {"theme": "dark"}})
        client.post("/sessions/my-agent/chat-1/messages", json={"messages": [{"role": "user", "content": "hi"}]})
        command = [*shlex.split(line), "--silent", "--output", "-", "--write-out", "\n%{http_code}"]
        goes_on = "-N" in command
        if goes_on:
            command += ["--max-time", "1"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=tmp_path, check=False)
        assert ended.returncode == (28 if goes_on else 0)
        answered = ended.stdout
        assert answered.endswith("\n200"), f"{line}\n{answered}"
