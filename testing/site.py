"""The book's site, built from the notebooks' stored outputs and served from this machine."""

import functools
import gzip
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def pages() -> list[str]:
    """Return every page's address within the site, those of the table of contents first, in its order."""
    toc = (ROOT / "_toc.yml").read_text()
    names = [*re.findall(r"(?:root|file): (\S+)", toc), "search"]
    return [f"{name}.html" for name in names]


def build(folder: Path, source: Path = ROOT, repository: str | None = None) -> Path:
    """Build the site as `make book` does, but for running the chapters. Return where it is.

    Pages that store no outputs, such as Try it, are run. Another book can be built as this one is, and as if
    the repository had another address.
    """
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    if repository is not None:
        config["sphinx"]["config"]["html_theme_options"]["repository_url"] = repository
    config["execute"]["exclude_patterns"] = ["*.ipynb"]
    extensions = config["sphinx"]["local_extensions"]
    config["sphinx"]["local_extensions"] = {name: str(ROOT / path) for name, path in extensions.items()}
    (folder / "_config.yml").write_text(yaml.safe_dump(config))
    command = [str(Path(sys.executable).parent / "jupyter-book"), "build", str(source), "--all"]
    command += ["--warningiserror", "--keep-going"]
    command += ["--config", str(folder / "_config.yml"), "--path-output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder / "_build" / "html"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def serve(folder: Path):
    """Serve a folder from this machine, and return its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Visit:
    """What a page asked for and complained about while it was open."""

    def __init__(self, page):
        self.responses: dict[str, Any] = {}
        self.failed: list[str] = []
        self.errors: list[str] = []
        page.on("response", lambda response: self.responses.setdefault(response.url, response))
        page.on("requestfailed", lambda request: self.failed.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)

    def _console(self, message) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location}")

    def size(self) -> int:
        """Bytes of the page and all its files, text compressed by gzip as public web servers send it."""
        total = 0
        for url, response in list(self.responses.items()):
            if url.startswith("http"):
                body, kind = response.body(), response.headers.get("content-type", "")
                text = kind.startswith("text/") or "javascript" in kind or "svg" in kind
                total += len(gzip.compress(body, 6) if text else body)
        return total
