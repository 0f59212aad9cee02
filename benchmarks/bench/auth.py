"""What tokens, quotas and limits cost: the server under wrk, with all of them and with none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack

from bench.measure import interleave
from bench.server import DONE, GET, PUT, App, Wrk, found_in
from bench.settings import Settings
from bench.table import Row, absent, rate_text
from botwire import Memory
from botwire._tokens import TokenBook, make_token

NAME = "auth"
LEAST = 0.85
CONNECTIONS = (8, 32)
OPEN, GUARDED = "botwire", "tokens and quotas"


def rows(settings: Settings) -> Iterator[Row]:
    """GET and PUT at several numbers of connections."""
    wrk = shutil.which("wrk")
    if wrk is None:
        yield absent(NAME, "auth", "wrk", "wrk is not on the PATH; it is a package of that name on Debian and Homebrew")
        return
    folder = settings.place("auth")
    with ExitStack() as stack:
        apps = {name: stack.enter_context(App(name, folder / f"{name.split()[0]}.db")) for name in (OPEN, GUARDED)}
        with Memory("bench", url=f"sqlite:///{folder / 'tokens.db'}") as memory:
            text, token = make_token(namespaces=["ben*"])
            TokenBook(memory.store).add(token)
        header = f'wrk.headers["Authorization"] = "Bearer {text}"\n'
        put = PUT.replace("local headers = {", f'local headers = {{["Authorization"] = "Bearer {text}", ')
        scripts = {}
        for name, script in (("get", GET), ("put", PUT), ("get token", header + GET), ("put token", put)):
            scripts[name] = folder / f"{name}.lua"
            scripts[name].write_text(script + DONE)
        load = Wrk(wrk, scripts, 1 if settings.quick else 2)
        for connections in CONNECTIONS:
            sides = {
                (method, name): load.side(method + ("" if name == OPEN else " token"), apps[name], connections)
                for method in ("get", "put")
                for name in apps
            }
            samples = interleave({" ".join(key): side for key, side in sides.items()}, settings.rounds(7))
            for method in ("get", "put"):
                ours, theirs = f"{method} {GUARDED}", f"{method} {OPEN}"
                ratio = samples.ratio(ours, theirs)
                yield Row(
                    NAME,
                    f"{'GET' if method == 'get' else 'durable PUT'} at {connections} connections, with tokens, quotas and limits",
                    rate_text(samples.median(ours)),
                    "the same without",
                    rate_text(samples.median(theirs)),
                    ratio,
                    f"{LEAST}x or more",
                    ratio.median >= LEAST,
                    samples.load,
                )
        acknowledged, found = load.acknowledged[GUARDED], found_in(folder / "tokens.db")
        charged = _charged(folder / "tokens.db")
        what = "PUTs acknowledged under load that were not charged, or charged and are not there"
        note = f"of {acknowledged:,}; those that wrk no longer waited for are charged and there"
        yield Row(NAME, what, f"{abs(found - charged):,}", bar="0", passed=found == charged >= acknowledged, note=note)


def _charged(file: object) -> int:
    """What the meters say, beyond the keys that were made before the server ran."""
    import apsw

    connection = apsw.Connection(str(file))
    try:
        return int(connection.execute("SELECT coalesce(sum(amount), 0) FROM meter WHERE namespace = 'bench'").get or 0)
    finally:
        connection.close()
