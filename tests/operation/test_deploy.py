"""What is in deploy/ works: the unit is valid and tight, the image's steps make a server, proxies pass on names and events."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from botwire._retention import read_rules
from botwire.server import serve_in_thread
from botwire.stores import Store


@pytest.fixture(scope="module")
def deploy(root: Path) -> Path:
    return root / "deploy"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


# ------------------------------------------------------------------------------------------ systemd


def test_the_unit_is_valid_and_leaves_little_open(deploy: Path, tmp_path: Path, need: Any) -> None:
    systemd = need.command("systemd-analyze")
    unit = tmp_path / "botwire.service"
    text = (deploy / "botwire.service").read_text()
    unit.write_text(text.replace("/opt/botwire/bin/botwire", sys.executable))  # what it starts must be there to be valid
    verified = subprocess.run([systemd, "verify", str(unit)], capture_output=True, text=True, timeout=60)
    mine = [line for line in verified.stderr.splitlines() if "botwire" in line]
    assert (verified.returncode, mine) == (0, [])
    judged = subprocess.run(
        [systemd, "security", "--offline=true", "--threshold=20", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert judged.returncode == 0, judged.stdout[-300:]  # exposure of 2.0 or less, of 10


def test_the_units_command_starts_a_server(deploy: Path, tmp_path: Path) -> None:
    started = re.search(r"^ExecStart=(.*)$", (deploy / "botwire.service").read_text(), re.MULTILINE)
    assert started is not None
    check_command(shlex.split(started[1])[1:], tmp_path)


def check_command(arguments: list[str], folder: Path, program: tuple[str, ...] = (sys.executable, "-P", "-m", "botwire")) -> None:
    """Run ``botwire`` with these arguments, but in this folder and at a free port: it becomes ready, and stops when told to."""
    port = str(free_port())
    arguments = [argument.replace("/var/lib/botwire", str(folder)) for argument in arguments]
    arguments = [port if argument == "8377" else "127.0.0.1" if argument == "0.0.0.0" else argument for argument in arguments]
    with subprocess.Popen([*program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert line.startswith("botwire serving"), line + process.stdout.read()
            assert httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200
        finally:
            process.terminate()
        assert process.wait(30) == 0


# ------------------------------------------------------------------------------------------- docker


def instructions(text: str) -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def test_the_dockerfile_has_nothing_to_complain_about(deploy: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([str(hadolint), str(deploy / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_runs_as_nobody_special_with_its_data_in_a_volume(deploy: Path) -> None:
    final = instructions((deploy / "Dockerfile").read_text().split("\nFROM ")[-1])
    steps = dict(final)
    assert steps["USER"].isdigit()
    assert int(steps["USER"]) > 0
    assert steps["VOLUME"] == "/var/lib/botwire"
    assert any(name == "RUN" and f"--uid {steps['USER']}" in step for name, step in final)
    assert "sqlite:///var/lib/botwire/" in steps["CMD"]


@pytest.mark.timeout(600)
def test_the_images_steps_make_a_server_that_is_ready(deploy: Path, root: Path, tmp_path: Path) -> None:
    """The steps of the Dockerfile, at other places of this machine: no image, but the same wheel, environment and commands."""
    if "CI" not in os.environ:
        pytest.skip("downloads packages; runs where CI is set")
    steps = instructions((deploy / "Dockerfile").read_text())
    places = {
        place: str(tmp_path / place.strip("/").replace("/", "-")) for place in ("/src", "/wheels", "/opt/botwire", "/var/lib/botwire")
    }

    def here(text: str) -> str:
        for place, other in places.items():
            text = re.sub(rf"(?<![\w/.]){re.escape(place)}\b", other, text)
        return text

    for folder in ("/src", "/var/lib/botwire"):
        Path(places[folder]).mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")} | {"EXTRAS": "server"}
    subprocess.run(["python3", "-m", "venv", str(tmp_path / "builder")], check=True, env=environment, timeout=100)
    builder, done = tmp_path / "builder" / "bin" / "python", 0
    for name, step in steps:
        if name == "COPY" and not step.startswith("--from"):
            *sources, target = step.split()
            for source in sources:
                copy = shutil.copytree if (root / source).is_dir() else shutil.copy
                copy(root / source, Path(places["/src"], source if target == "./" else target))
        elif name == "RUN" and not step.startswith("useradd"):  # the user is the image's
            command = here(step).replace("python -m pip wheel", f"{builder} -m pip wheel").replace("python -m venv", "python3 -m venv")
            ended = subprocess.run(["sh", "-ec", command], cwd=places["/src"], env=environment, capture_output=True, text=True, timeout=500)
            assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
            done += 1
    assert done == 2
    arguments = json.loads(dict(steps)["CMD"])
    # Beyond loopback it wants a token, but here the address is loopback.
    check_command(arguments, Path(places["/var/lib/botwire"]), (f"{places['/opt/botwire']}/bin/botwire",))


def test_the_images_health_check_tells_a_server_that_is_ready(deploy: Path, url: str) -> None:
    check = re.search(r"HEALTHCHECK.*?CMD (\[.*?\])$", (deploy / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL)
    assert check is not None
    command = [part.replace("http://127.0.0.1:8377", url) for part in json.loads(check[1])]
    command[0] = sys.executable
    assert subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    command[-1] = command[-1].replace(url, f"http://127.0.0.1:{free_port()}")
    assert subprocess.run(command, capture_output=True, timeout=30).returncode != 0


# ------------------------------------------------------------------------------------------ compose


def test_the_compose_file_fits_together(deploy: Path, root: Path, tmp_path: Path) -> None:
    compose = yaml.safe_load((deploy / "compose.yaml").read_text())
    botwire, postgres = compose["services"]["botwire"], compose["services"]["postgres"]
    build = (deploy / botwire["build"]["context"]).resolve()
    assert build == root
    assert (build / botwire["build"]["dockerfile"]).is_file()
    assert botwire["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "healthcheck" in postgres
    assert all(port.startswith("127.0.0.1:") for port in botwire["ports"])
    assert "ports" not in postgres
    for service in (botwire, postgres):
        assert set(service["networks"]) <= compose["networks"].keys()
        assert set(service.get("secrets", ())) <= compose["secrets"].keys()
    assert {volume.split(":")[0] for volume in postgres["volumes"]} == compose["volumes"].keys()
    arguments = list(botwire["command"])
    assert "--store" not in arguments  # it is BOTWIRE_URL, which has the password
    check_command([*arguments[:-2], "--store", f"sqlite://{tmp_path}/m.db"], tmp_path)


def test_the_passwords_are_made_by_the_commands_that_the_compose_file_gives(deploy: Path, tmp_path: Path, need: Any) -> None:
    need.command("openssl")
    head = re.match(r"(?:#.*\n)+", (deploy / "compose.yaml").read_text())
    assert head is not None
    lines = [line[4:] for line in head[0].splitlines() if line.startswith("#   ")]
    script = "\n".join(line for line in lines if "docker compose" not in line)
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True, timeout=30)
    environment = (tmp_path / "secrets" / "botwire.env").read_text()
    password = (tmp_path / "secrets" / "postgres-password").read_text().strip()
    assert f"BOTWIRE_URL=postgresql://botwire:{password}@postgres/botwire\n" in environment
    assert re.search(r"^BOTWIRE_ADMIN_TOKEN=[0-9a-f]{64}$", environment, re.MULTILINE)
    assert (tmp_path / "secrets" / "botwire.env").stat().st_mode & 0o077 == 0


def test_the_operators_rules_can_be_read(deploy: Path) -> None:
    retention = read_rules(deploy / "operator.toml")
    assert retention is not None
    assert [rule.pattern for rule in retention.rules] == ["support-*", "cache"]


# ------------------------------------------------------------------------------------------ proxies


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory, need: Any) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([need.command("openssl"), *made, *names], check=True, capture_output=True, timeout=60)
    return cert, key


@contextmanager
def nginx(deploy: Path, folder: Path, certificate: tuple[Path, Path], upstream: str, program: str) -> Iterator[str]:
    port = free_port()
    site = (deploy / "nginx.conf").read_text()
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("memory.example.com;", "localhost;"),
        ("/etc/ssl/memory.example.com.pem", str(certificate[0])),
        ("/etc/ssl/memory.example.com.key", str(certificate[1])),
        ("http://127.0.0.1:8377", upstream),
    ):
        assert old in site
        site = site.replace(old, new)
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{}} http {{ access_log off; {temporary} {site} }}"
    )
    with running([program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")], port):
        yield f"https://localhost:{port}"


@contextmanager
def caddy(deploy: Path, folder: Path, certificate: tuple[Path, Path], upstream: str, program: str) -> Iterator[str]:
    port = free_port()
    site = (deploy / "Caddyfile").read_text()
    assert "memory.example.com {" in site
    address = f"https://localhost:{port} {{\n\ttls {certificate[0]} {certificate[1]}\n\tbind 127.0.0.1"
    site = site.replace("memory.example.com {", address).replace("127.0.0.1:8377", upstream.removeprefix("http://"))
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n" + site)
    environment = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
    with running([program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"], port, environment):
        yield f"https://localhost:{port}"


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str] | None = None) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, deploy: Path, tmp_path: Path, certificate: Any, need: Any) -> Callable[[str], Any]:
    program = need.command(request.param)
    start = {"nginx": nginx, "caddy": caddy}[request.param]
    return lambda upstream: start(deploy, tmp_path, certificate, upstream, program)


def test_a_proxy_passes_names_on_as_they_are(proxy: Any, certificate: Any, store: Store) -> None:
    names = ["a/b", "../x", "a b", "a%2Fb", "é", "?#&", "a//b", "%"]
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with serve_in_thread(store, allow_hosts={"localhost"}) as upstream, proxy(upstream) as url, httpx.Client(verify=context) as client:
        for name in names:
            path = "".join(f"%{byte:02X}" for byte in name.encode())
            assert client.put(f"{url}/memory/ns/{path}", json={"value": name}).status_code == 200
            assert client.get(f"{url}/memory/ns/{path}").json()["key"] == name
        assert client.get(f"{url}/metrics").status_code == 404
        assert client.get(f"{url}/admin/backup").status_code == 404
        large = client.put(f"{url}/memory/ns/large", json={"value": "x" * 1_000_000})
        assert large.status_code == 200
    assert sorted(store.scan_keys("ns", "", None, 100)) == sorted([*names, "large"])


def test_botwires_own_client_works_through_a_proxy(proxy: Any, certificate: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from botwire import Memory

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with serve_in_thread(store, allow_hosts={"localhost"}) as upstream, proxy(upstream) as url, Memory("n/s", url=url) as memory:
        memory.set("user/42", {"a": 1})
        memory.session("s/1").append(("user", "hi"))
        assert memory.list_keys() == ["user/42"]


def test_a_proxy_passes_events_on_as_they_come(proxy: Any, certificate: Any) -> None:
    """The second event is sent only once the first has arrived: who buffers waits for ever."""
    arrived = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        threading.Thread(target=send_events, args=(upstream, arrived), daemon=True).start()
        context = ssl.create_default_context(cafile=str(certificate[0]))
        with (
            proxy(f"http://127.0.0.1:{upstream.getsockname()[1]}") as url,
            httpx.Client(verify=context, timeout=20) as client,
            client.stream("GET", f"{url}/watch/ns") as response,
        ):
            lines = response.iter_lines()
            assert next(line for line in lines if line) == "data: 1"
            arrived.set()
            assert next(line for line in lines if line) == "data: 2"


def send_events(upstream: socket.socket, arrived: threading.Event) -> None:
    while True:
        try:
            connection, _ = upstream.accept()
        except OSError:
            return
        with connection:
            if not connection.recv(65_536):
                continue  # whoever only looked whether somebody listens
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.sendall(b"9\r\ndata: 1\n\n\r\n")
            if arrived.wait(30):
                connection.sendall(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
            return
