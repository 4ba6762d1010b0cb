"""Copying content out of the staging folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bitcasafs.cli.export import export
from bitcasafs.control.changes import ContentStatus
from bitcasafs.errors import BitcasaError
from tests.support.fake_drive import called, served


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    path = tmp_path / "00000012 letter.odt"
    path.write_bytes(b"dear reader")
    return path


async def test_the_content_is_copied_and_what_comes_next_is_said(tmp_path: Path, staged: Path) -> None:
    async with served(tmp_path) as (socket, drive, _):
        drive.content_there = ContentStatus(str(staged), 11)
        lines = await called(export, socket, 7, str(tmp_path / "out"))
        assert (tmp_path / "out").read_bytes() == b"dear reader"
        assert lines[0] == f"11 B are in {tmp_path / 'out'}"
        assert "still in the outbox" in lines[-1]
        assert not (tmp_path / "out.map").exists()


async def test_into_a_folder_it_goes_under_the_name_of_the_file(tmp_path: Path, staged: Path) -> None:
    (tmp_path / "folder").mkdir()
    async with served(tmp_path) as (socket, drive, _):
        drive.content_there = ContentStatus(str(staged), 11)
        await called(export, socket, 7, str(tmp_path / "folder"))
        assert (tmp_path / "folder" / "letter.odt").read_bytes() == b"dear reader"


async def test_a_map_tells_what_was_written_where_the_rest_is_missing(tmp_path: Path, staged: Path) -> None:
    async with served(tmp_path) as (socket, drive, _):
        drive.content_there = ContentStatus(str(staged), 11, ((0, 4), (8, 9)))
        lines = await called(export, socket, 7, str(tmp_path / "out"))
        assert (tmp_path / "out.map").read_text() == "0 4\n8 9\n"
        assert (tmp_path / "out").read_bytes() == b"dear reader"
        assert re.search(r"6 B of it .* zeros", lines[1])
        assert str(tmp_path / "out.map") in lines[2]


@pytest.mark.parametrize("taken", ["out", "out.map"])
async def test_nothing_is_overwritten(tmp_path: Path, staged: Path, taken: str) -> None:
    (tmp_path / taken).write_bytes(b"mine")
    async with served(tmp_path) as (socket, drive, _):
        drive.content_there = ContentStatus(str(staged), 11, ((0, 4),))
        with pytest.raises(FileExistsError):
            await called(export, socket, 7, str(tmp_path / "out"))
    assert (tmp_path / taken).read_bytes() == b"mine"
    assert set(os.listdir(tmp_path)) == {taken, staged.name}


async def test_a_file_that_changes_meanwhile_is_not_taken_for_whole(tmp_path: Path, staged: Path) -> None:
    async with served(tmp_path) as (socket, drive, _):
        drive.content_there = ContentStatus(str(staged), 12, ((0, 4),))
        with pytest.raises(BitcasaError, match="being written"):
            await called(export, socket, 7, str(tmp_path / "out"))
    assert os.listdir(tmp_path) == [staged.name]
