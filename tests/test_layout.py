"""The rules of the repository that no other tool checks: sizes, names, and what README promises."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bitcasafs"

MODULE_LINES = 400
FUNCTION_LINES = 60
# Names that say nothing, and so gather everything.
FORBIDDEN = {"cache", "utils", "util", "common", "helpers", "helper", "misc", "manager", "managers"}

MODULES = sorted(
    path for folder in ("bitcasafs", "tests/support", "tests/bench") for path in (ROOT / folder).rglob("*.py")
)
SCRIPTS = [*sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file()), ROOT / ".ci" / "run"]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_no_module_is_longer_than_it_may_be() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_no_function_is_longer_than_it_may_be() -> None:
    lengths = {
        f"{shown(path)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in MODULES
        for node in functions(path)
    }
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_no_module_or_package_has_a_name_that_says_nothing() -> None:
    named = {*PACKAGE.rglob("*.py"), *(path for path in PACKAGE.rglob("*") if path.is_dir())}
    assert [shown(path) for path in named if path.stem in FORBIDDEN] == []


def test_every_package_has_content() -> None:
    empty = [
        shown(folder)
        for folder in PACKAGE.rglob("*")
        if (folder / "__init__.py").exists()
        and len(list(folder.rglob("*.py"))) == 1
        and len(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body) <= 1
    ]
    assert empty == []


def test_every_module_says_what_it_is() -> None:
    trees = {shown(path): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
    assert [name for name, tree in trees.items() if tree.body and ast.get_docstring(tree) is None] == []


# --- README and scripts -----------------------------------------------------------------------------------------------


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def readme_commands() -> list[list[str]]:
    """The command lines of README's blocks, in words."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", readme(), re.DOTALL | re.MULTILINE)
    return [line.split() for block in blocks for line in block.splitlines() if line.strip()]


def console_scripts() -> set[str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options.entry_points"]["console_scripts"].split("\n")
    return {line.split("=")[0].strip() for line in lines if line.strip()}


def test_every_command_of_readme_is_there() -> None:
    commands = {words[0] for words in readme_commands()}
    installed = {f".venv/bin/{name}" for name in console_scripts()}
    scripts = {shown(path) for path in SCRIPTS}
    assert commands
    assert commands - installed - scripts == set()


def test_the_two_commands_come_first() -> None:
    assert [words[0] for words in readme_commands()[:2]] == ["scripts/mount", ".venv/bin/umount.bitcasafs"]


def test_every_link_of_the_documents_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{shown(document)}: {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert broken == []


def test_every_entry_point_of_the_package_can_be_imported() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    for line in setup["options.entry_points"]["console_scripts"].strip().splitlines():
        module, _, function = line.split("=")[1].strip().partition(":")
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, line


@pytest.mark.parametrize("script", SCRIPTS, ids=shown)
def test_every_script_explains_itself(script: Path, tmp_path: Path) -> None:
    assert os.access(script, os.X_OK)
    # From another folder, and through a link, as somebody may have put it on the PATH.
    link = tmp_path / "link"
    link.symlink_to(script)
    ran = subprocess.run([link, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"Usage: {shown(script)}")


@pytest.mark.parametrize("script", SCRIPTS, ids=shown)
def test_every_script_is_sound_bash(script: Path) -> None:
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert any(re.match(r"set -e?uo pipefail$", line) for line in lines)
    subprocess.run(["bash", "-n", script], check=True, timeout=30)
