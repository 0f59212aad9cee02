"""Fetch the vendored files from npm's registry and write down their hashes: ``python3 tests/page/refresh_vendor.py``.

Needs npm. The files are those of the packages, but for two things: a browser finds modules by path and not by package
name, so the names that they import from become paths; and the lines that point to source maps, which are not here, go.
``vendor.json`` has versions, the packages' own checksums (npm checks what it fetches by them), and the SHA-256 of each
file here, which a test holds against the files. To take newer versions: change VERSIONS, run this, run the tests.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[2] / "botwire" / "server" / "page" / "vendor"
VERSIONS = {"preact": "11.2.0", "htm": "3.1.1", "@preact/signals": "2.11.4", "@preact/signals-core": "1.14.5"}
MODULES = {
    "preact.mjs": ("preact", "dist/preact.mjs"),
    "hooks.mjs": ("preact", "hooks/dist/hooks.mjs"),
    "htm.mjs": ("htm", "dist/htm.mjs"),
    "signals.mjs": ("@preact/signals", "dist/signals.mjs"),
    "signals-core.mjs": ("@preact/signals-core", "dist/signals-core.mjs"),
}
NAMES = {
    "preact": "preact.mjs",
    "preact/hooks": "hooks.mjs",
    "htm": "htm.mjs",
    "@preact/signals": "signals.mjs",
    "@preact/signals-core": "signals-core.mjs",
}
"""Which file a module is that another one, or a type checker, knows by its name."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        packages = [f"{name}@{version}" for name, version in VERSIONS.items()]
        subprocess.run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error", *packages], check=True)
        copy(Path(folder, "node_modules"), json.loads(Path(folder, "package-lock.json").read_text(encoding="utf-8")))


def copy(packages: Path, lock: dict[str, dict[str, dict[str, str]]]) -> None:
    for file, (package, path) in MODULES.items():
        text = (packages / package / path).read_text(encoding="utf-8")
        text = re.sub(r"\n?//# sourceMappingURL=.*\n?$", "\n", text)
        text = re.sub(r'(from\s?|^import\s?)"([^"./][^"]*)"', lambda found: f'{found[1]}"./{NAMES[found[2]]}"', text)
        (HERE / file).write_text(text, encoding="utf-8")
    for name, file in NAMES.items():
        default = 'export { default } from "htm";\n' if name == "htm" else ""
        (HERE / file.replace(".mjs", ".d.mts")).write_text(f'export * from "{name}";\n{default}', encoding="utf-8")
    for package in VERSIONS:
        text = (packages / package / "LICENSE").read_text(encoding="utf-8")
        (HERE / f"LICENSE-{package.removeprefix('@').replace('/', '-')}.txt").write_text(text, encoding="utf-8")
    record = {
        "packages": {
            name: {"version": VERSIONS[name], "integrity": lock["packages"][f"node_modules/{name}"]["integrity"]} for name in VERSIONS
        },
        "sha256": {file: hashlib.sha256((HERE / file).read_bytes()).hexdigest() for file in sorted(MODULES)},
    }
    (HERE / "vendor.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
