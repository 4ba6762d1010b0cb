from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitcasafs.atomic import make_private_folder, sync_folder, write_file
from bitcasafs.errors import ConfigError


@pytest.fixture
def open_umask() -> Iterator[None]:
    old = os.umask(0)
    yield
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_written_file_has_its_content_and_is_private(tmp_path: Path, open_umask: None) -> None:
    write_file(tmp_path / "key", b"one")
    write_file(tmp_path / "key", b"two")
    assert (tmp_path / "key").read_bytes() == b"two"
    assert mode(tmp_path / "key") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_wider_mode_holds_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        write_file(tmp_path / "page", b"", mode=0o644)
    finally:
        os.umask(old)
    assert mode(tmp_path / "page") == 0o644


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_file(path, b"x")
    assert path.read_bytes() == b"x"


def test_what_cannot_be_replaced_stays_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path / "folder", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_link_is_replaced_and_what_it_names_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (tmp_path / "key").symlink_to("elsewhere")
    write_file(tmp_path / "key", b"ours")
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"
    assert not (tmp_path / "key").is_symlink()


def test_content_and_name_are_synced_in_that_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    def watched_replace(source: Path, target: Path) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write_file(tmp_path / "key", b"x")
    assert steps == ["sync file", "rename", "sync folder"]


def test_only_a_folder_can_be_synced_as_one(tmp_path: Path) -> None:
    sync_folder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")


def test_a_private_folder_and_its_missing_parents_are_closed_to_others(tmp_path: Path, open_umask: None) -> None:
    make_private_folder(tmp_path / "a" / "b")
    make_private_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == 0o700
    assert mode(tmp_path / "a" / "b") == 0o700


def test_an_empty_folder_that_is_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o755)
    make_private_folder(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o700


def test_an_open_folder_in_use_is_left_as_it_is_and_the_way_out_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o1777)
    (tmp_path / "a" / "file").touch()
    with pytest.raises(ConfigError, match="chmod 700 "):
        make_private_folder(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o1777


def test_a_link_of_ours_to_a_folder_of_ours_will_do(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "a").symlink_to("real")
    make_private_folder(tmp_path / "a")
    assert mode(tmp_path / "real") == 0o700


def test_a_file_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(ConfigError, match="not a folder"):
        make_private_folder(tmp_path / "a")


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    stranger = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    with pytest.raises(ConfigError, match="another user"):
        make_private_folder(tmp_path / "a")
