"""The documentation page: one HTML text made from the OpenAPI document, with nothing to load from elsewhere."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from typing import Any

from botwire.server._openapi import CODES, ROUTES, Route, document

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --mark: #0a7; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1.5rem }
h3 { margin: 2rem 0 .25rem } code, pre { font: 14px/1.45 ui-monospace, monospace }
pre { background: var(--soft); padding: .75rem 1rem; overflow-x: auto; border-radius: 6px }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
.method { color: var(--mark); font-weight: 700; text-transform: uppercase } nav a { display: inline-block; margin-right: 1rem }
details { margin: .5rem 0 } summary { cursor: pointer }
"""

_NAMES = {"namespace": "my-agent", "key": "user-42", "session": "chat-1", "id": "k3f9w2qd"}
_TOKENS = (
    'Where the server asks for a token, each request carries it: `-H "Authorization: Bearer $BOTWIRE_TOKEN"`. What it does not open '
    "is answered as what does not exist."
)
_QUERIES = {"q": "dark", "last": "20"}


def page(base: str) -> str:
    """The page, with ``base`` (as ``http://127.0.0.1:8377``) in its curl lines."""
    return _template().replace("{{base}}", escape(base))


@cache
def _template() -> str:
    info = document()["info"]
    links = "".join(f'<a href="#{route.name}">{escape(route.summary)}</a> ' for route in ROUTES)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>botwire {escape(info['version'])}</title><style>{_STYLE}</style></head><body>"
        f"<h1>botwire</h1><p>{escape(info['summary'])}, version {escape(info['version'])}. "
        f'{_code(info["description"])} The same as a document for programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"<p>{_code(_TOKENS)}</p>"
        f"<nav>{links}</nav><h2>Requests</h2>{''.join(map(_section, ROUTES))}"
        f"<h2>Problems</h2>{_problems()}<h2>Types</h2>{_types()}</body></html>"
    )


def _section(route: Route) -> str:
    operation = document()["paths"][route.path][route.method]
    answers = ", ".join(f'<a href="#{model.__name__}">{model.__name__}</a>' for model in route.answer)
    takes = " or ".join(f'<a href="#{model.__name__}">{model.__name__}</a>' for model in route.body)
    return (
        f'<h3 id="{route.name}">{escape(route.summary)}</h3>'
        f'<p><code><span class="method">{route.method}</span> {escape(route.path)}</code></p>'
        f"{f'<p>{_code(route.about)}</p>' if route.about else ''}{_table(operation.get('parameters', []))}"
        f"{f'<p>Takes {takes}.</p>' if takes else ''}<p>Answers {answers or escape(route.content)}.</p>"
        f"<pre>{escape(curl(route, '{{base}}'))}</pre>"
    )


def curl(route: Route, base: str) -> str:
    """A line that tries a route."""
    path = route.path
    for name, value in _NAMES.items():
        path = path.replace(f"{{{name}}}", value)
    query = "&".join(f"{name}={_QUERIES[name]}" for name in route.query.split() if name in _QUERIES)
    line = ("curl -N" if route.stream else "curl") if route.method == "get" else f"curl -X {route.method.upper()}"
    line += f" '{base}{path}{'?' + query if query else ''}'"
    if route.path.startswith("/admin"):
        line += ' -H "Authorization: Bearer $BOTWIRE_TOKEN"'
    if route.content and not route.content.startswith("text/"):
        line += f" --output {route.name}.db"
    return f"{line} -H 'Content-Type: application/json' -d '{route.example}'" if route.example else line


def _table(parameters: list[dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(given['name'])}</code></td><td>{given['in']}</td><td>{_code(given['description'])}</td></tr>"
        for given in parameters
        if given["in"] != "path"
    )
    return f"<table><tr><th>parameter</th><th>in</th><th></th></tr>{rows}</table>" if rows else ""


def _problems() -> str:
    rows = "".join(f'<tr id="{code}"><td><code>{code}</code></td><td>{_code(meaning)}</td></tr>' for code, meaning in CODES.items())
    return f"<table>{rows}</table>"


def _types() -> str:
    schemas = document()["components"]["schemas"]
    return "".join(
        f'<details id="{name}"><summary><code>{name}</code> {_code(schema.get("description", ""))}</summary>'
        f"<pre>{escape(json.dumps(schema, indent=2))}</pre></details>"
        for name, schema in schemas.items()
    )


def _code(text: str) -> str:
    """Text in which what stands between backticks is code."""
    parts = escape(text).split("`")
    return "".join(part if index % 2 == 0 else f"<code>{part}</code>" for index, part in enumerate(parts))
