"""What the appendix says of the package must be true of it."""

import re
from pathlib import Path

import pytest

from ssrlib.__main__ import prepare_app

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "ssrlib").rglob("*.py")))
MESSAGES = re.findall(r"```text\n(.+?)\n```", (BOOK / "trouble-shooting.md").read_text())


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_are_the_packages_own(message):
    parts = [part for part in re.split("…", message) if len(part) > 2]
    missing = [part for part in parts if part not in SOURCE and part.strip() not in SOURCE]
    assert parts
    assert missing == []


def test_every_dataset_has_its_command():
    commands = set(re.findall(r"ssrlib prepare (\w+)", (BOOK / "datasets.md").read_text())) - {"DATASET"}
    assert commands == {
        command.name or command.callback.__name__ for command in prepare_app.registered_commands
    }
