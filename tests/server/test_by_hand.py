"""The examples of docs/protocol.md, run: curl, one shell, from top to bottom, on a real server."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.processes import ROOT
from tests.support.server import RunningServer

MARK = "--- next ---"


@dataclass
class Example:
    command: str
    expected: list[str] = field(default_factory=list)


def examples(page: str) -> list[Example]:
    """Commands (`$ ...`) and the lines under each, of all console blocks of the section."""
    section = page.partition("\n## By hand, with curl\n")[2].partition("\n---\n")[0]
    found: list[Example] = []
    for block in re.findall(r"^```console\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Example(line[2:]))
            else:
                found[-1].expected.append(line)
    return found


def test_the_examples_of_the_protocol_page_say_what_really_happens(server: RunningServer, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()
    asked = examples(page)
    assert len(asked) > 10
    script = "".join(f"{example.command}\necho '{MARK}'\n" for example in asked)
    shell = subprocess.run(
        ["bash", "-c", script],
        env={
            "PATH": "/usr/bin:/bin",
            "PORTAL": server.url,
            "USER_NAME": server.user,
            "PASSWORD": server.password,
            "JAR": str(tmp_path / "jar"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = [part.strip("\n").splitlines() for part in shell.stdout.split(MARK)[:-1]]
    for example, lines in zip(asked, said, strict=True):
        assert lines == example.expected, example.command
