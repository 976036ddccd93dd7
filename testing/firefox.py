"""Firefox with Playwright, so that a test of Chromium can be one of Firefox, too.

Playwright drives a Firefox that it did not build itself by WebDriver BiDi, and asks each page for settings
that Debian's Firefox 140 does not know. So what it starts is this file, as a program of its own: it starts
Firefox and passes on what the two say to each other, but answers these requests itself.
"""

import asyncio
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler, websocket_connect

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
SETTINGS = {
    "browser.download.folderList": 2,  # the folder that is named below
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,  # a camera that shows colors, and nobody
    "ui.prefersReducedMotion": 1,
}
# No test here asks what these are for: bodies of responses, another folder for each page's downloads, and
# another screen than the window.
NOT_NEEDED = (
    "browser.setDownloadBehavior",
    "emulation.setScreenOrientationOverride",
    "emulation.setScreenSettingsOverride",
    "network.addDataCollector",
)
# It is day in Firefox unless somebody says otherwise.
DAY: tuple[dict, ...] = ({}, {"prefers-color-scheme": "light"})
# A picture that a page saves is told of as a page that is opened, and that never comes.
SAVES = re.compile(r'"method":"browsingContext.navigationStarted".*"url":"data:')
LARGEST = 2**28  # bytes of a message, or of a line: pages and pictures travel as one


def launch_firefox(firefox, folder: Path):
    """Start Firefox with a fake camera; what its pages save goes to `folder`."""
    program = folder / "firefox"
    program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, __file__])} "$@"\n')
    program.chmod(0o755)
    return firefox.launch(
        channel="moz-firefox",
        executable_path=program,
        firefox_user_prefs=SETTINGS | {"browser.download.dir": str(folder)},
        env=os.environ | {"HOME": str(folder)},  # as root, it refuses a home that is somebody else's
    )


class Relay(WebSocketHandler):
    """What Playwright believes to be Firefox."""

    def initialize(self, address: str) -> None:
        self.address = address

    async def open(self, path: str) -> None:
        self.firefox = await websocket_connect(
            self.address + path, on_message_callback=self.pass_on, max_message_size=LARGEST
        )

    def pass_on(self, message) -> None:
        if message is None:
            self.close()
        elif not SAVES.search(message):
            self.write_message(message)

    def on_message(self, message) -> None:
        asked = json.loads(message)
        usual = asked["method"] == "emulation.setMediaFeaturesOverride" and asked["params"]["features"] in DAY
        if usual or asked["method"] in NOT_NEEDED:
            self.write_message({"type": "success", "id": asked["id"], "result": {}})
        else:
            self.firefox.write_message(message)

    def on_close(self) -> None:
        self.firefox.close()


async def main() -> None:
    command = [str(FIREFOX), *sys.argv[1:]]
    firefox = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, limit=LARGEST)
    assert firefox.stderr
    async for line in firefox.stderr:  # to its end: a full pipe would hold up Firefox
        if address := re.search(r"WebDriver BiDi listening on (ws:\S+)", line.decode()):
            sockets = bind_sockets(0, "127.0.0.1")
            relay = Application(
                [("(/.*)", Relay, {"address": address[1]})], websocket_max_message_size=LARGEST
            )
            HTTPServer(relay).add_sockets(sockets)
            port = sockets[0].getsockname()[1]
            print(f"WebDriver BiDi listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
