"""The page's files: what is served, with which headers, to whom; and what they hold."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from botwire._errors import Unauthorized
from botwire.server import serve_in_thread
from botwire.server._page import POLICY, _files
from botwire.stores import Store


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def folder(root: Path) -> Path:
    return root / "botwire" / "server" / "page"


def test_every_file_is_served_with_its_type_and_the_policy(client: httpx.Client) -> None:
    kinds = {
        "html": "text/html",
        "": "text/html",
        "js": "text/javascript",
        "mjs": "text/javascript",
        "css": "text/css",
        "svg": "image/svg+xml",
        "txt": "text/plain",
    }
    assert len(_files()) > 20
    for path in _files():
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].startswith(kinds[path.rpartition(".")[2] if "." in path else ""]), path
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in POLICY.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["img-src"] == "'self' data:"
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in POLICY


def test_a_file_that_is_known_is_not_sent_again(client: httpx.Client) -> None:
    for path in ("/", "/page/app.js"):
        first = client.get(path)
        again = client.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert client.get(path, headers={"if-none-match": f'"x", W/{first.headers["etag"]}'}).status_code == 304
        assert client.get(path, headers={"if-none-match": '"x"'}).status_code == 200
        assert first.headers["cache-control"] == "no-cache"


def test_head_tells_what_get_would_send(client: httpx.Client) -> None:
    for path in ("/", "/page/style.css"):
        get, head = client.get(path), client.head(path)
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == str(len(get.content))
        assert head.headers["etag"] == get.headers["etag"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_files_cannot_be_written(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/page/app.js")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/page/", "/page", "/page/../_app.py", "/page/%2e%2e/_app.py", "/page/..%2f_app.py", "/page/%2e%2e%2f%2e%2e%2f_errors.py",
        "/page//etc/passwd", "/page/vendor/", "/page/vendor/vendor.json", "/page/vendor/../../_app.py", "/page/app.js%00", "/page/app.js/",
        "/page/APP.JS", "/page/vendor%2fpreact.mjs",
        "/page/..\\_app.py", "//page/app.js", "/page/index.html",
    ],
)  # fmt: skip
def test_nothing_but_the_files_is_served(url: str, path: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.putrequest("GET", path, skip_host=False)  # as it is: httpx would resolve the dots
    connection.endheaders()
    assert connection.getresponse().status in (400, 404)
    connection.close()


def test_files_need_no_token_and_data_does(store: Store) -> None:
    def refuse(*_: Any) -> None:
        raise Unauthorized("a token is needed")

    with serve_in_thread(store, authorize=refuse) as url:
        assert all(httpx.get(url + path).status_code == 200 for path in _files())
        assert httpx.get(f"{url}/memory").status_code == 401
        assert httpx.get(f"{url}/memory/ns/k").status_code == 401


def test_without_the_page_the_documentation_is_at_the_root(store: Store) -> None:
    with serve_in_thread(store, page=False) as url:
        assert "Create or replace an entry" in httpx.get(f"{url}/").text
        assert httpx.get(f"{url}/page/app.js").status_code == 404
    with serve_in_thread(store) as url:
        assert "Create or replace an entry" in httpx.get(f"{url}/docs").text
        assert "/page/app.js" in httpx.get(f"{url}/").text


def test_botwire_serve_no_page_turns_it_off(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "botwire", "serve", "--port", "0", "--store", f"sqlite://{tmp_path}/m.db", "--no-page"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert httpx.get(f"{line.split(' at ')[1].split()[0]}/page/app.js").status_code == 404, line
        finally:
            process.terminate()


# ------------------------------------------------------------------------------------------ the guard


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:8377", "http://127.0.0.1:8377", 200),  # as it is
        ("memory.example", "https://memory.example", 200),  # behind a proxy that passes the name on
        ("127.0.0.1:8377", "https://memory.example", 200),  # behind one that does not
        ("127.0.0.1:8377", "https://MEMORY.example", 200),
        ("127.0.0.1:8377", None, 200),
        ("127.0.0.1:8377", "https://memory.example:4443", 403),
        ("127.0.0.1:8377", "https://evil.example", 403),
        ("127.0.0.1:8377", "http://127.0.0.1:3000", 403),  # another program's page on the same machine
        ("127.0.0.1:8377", "http://localhost:3000", 403),
        ("127.0.0.1:8377", "null", 403),
        ("evil.example", "http://evil.example", 403),  # a name that a stranger points to this machine
    ],
)
def test_requests_of_the_page_pass_and_those_of_others_do_not(store: Store, host: str, origin: str | None, status: int) -> None:
    names = {"127.0.0.1", "localhost", "memory.example"}
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    with serve_in_thread(store, allow_hosts=names, origins=["memory.example"]) as url:
        assert httpx.put(f"{url}/memory/ns/k", json={"value": 1}, headers=headers).status_code == status


# ------------------------------------------------------------------------------- what the files hold


def test_no_file_turns_text_into_markup_or_programs(folder: Path) -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|dangerouslySet|insertAdjacent|document\.write|srcdoc|\beval\b|new Function|DOMParser|ContextualFrag|setHTML"
    )
    for file in [*folder.glob("*.js"), folder / "index.html"]:
        assert not forbidden.findall(file.read_text(encoding="utf-8")), file.name


def test_no_file_names_another_server(folder: Path) -> None:
    for file in [*folder.glob("*.js"), *folder.glob("*.css"), *folder.glob("*.html")]:
        assert not re.findall(
            r"(?:https?:)?//[a-z][a-z0-9.-]+\.[a-z]+", re.sub(r"^\s*//.*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        ), file.name


def test_nothing_stands_inline_in_the_html(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script[^>]*>([^<]+)", text) == []
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", text)


def test_every_module_that_is_imported_is_there(folder: Path) -> None:
    for file in [*folder.glob("*.js"), *folder.glob("vendor/*.mjs")]:
        for target in re.findall(r"""(?:from|import)\s*['"]([^'"]+)['"]""", file.read_text(encoding="utf-8")):
            assert target.startswith("./"), f"{file.name} imports {target}, which no browser finds"
            assert (file.parent / target).is_file(), f"{file.name} imports {target}"


def test_the_vendored_files_are_those_of_their_packages(folder: Path, root: Path) -> None:
    record = json.loads((folder / "vendor" / "vendor.json").read_text(encoding="utf-8"))
    assert {file.name for file in folder.glob("vendor/*.mjs")} == set(record["sha256"])
    for name, digest in record["sha256"].items():
        assert hashlib.sha256((folder / "vendor" / name).read_bytes()).hexdigest() == digest, name
    for package in record["packages"]:
        assert "Copyright" in (folder / "vendor" / f"LICENSE-{package.removeprefix('@').replace('/', '-')}.txt").read_text(encoding="utf-8")
    wanted = json.loads((root / "tests" / "page" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert {name: one["version"] for name, one in record["packages"].items()}.items() <= wanted.items()


def test_the_modules_hold_to_their_types(node_modules: Path, folder: Path, tmp_path: Path) -> None:
    types = {
        "preact": "preact/src/index.d.ts",
        "preact/hooks": "preact/hooks/src/index.d.ts",
        "htm": "htm/dist/htm.d.ts",
        "@preact/signals": "@preact/signals/dist/signals.d.ts",
        "@preact/signals-core": "@preact/signals-core/dist/signals-core.d.ts",
    }
    options = {
        "allowJs": True, "checkJs": True, "noEmit": True, "strict": True, "types": [],
        "target": "es2024", "module": "esnext", "moduleResolution": "bundler",
        "lib": ["es2024", "dom", "dom.iterable", "dom.asynciterable"],
        "paths": {name: [str(node_modules / path)] for name, path in types.items()},
    }  # fmt: skip
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "include": [f"{folder}/*.js"]}))
    done = subprocess.run([node_modules / ".bin" / "tsc", "-p", tmp_path], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_a_wheel_has_the_page_in_it(root: Path, tmp_path: Path) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    wheel = next(iter(builder.WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])))
    held = {f"/{name.removeprefix('botwire/server/')}" for name in zipfile.ZipFile(wheel).namelist()}
    assert set(_files()) - {"/"} <= held
    assert "/page/index.html" in held
    assert "/page/vendor/vendor.json" in held
