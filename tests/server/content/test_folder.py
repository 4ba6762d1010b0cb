"""What only the folder has: files, temporaries, full disks and lost bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitcasafs.errors import ConfigError, NoSpace
from bitcasafs.server.content.folder import FolderContentStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "content"


@pytest.fixture
def store(folder: Path) -> Iterator[FolderContentStore]:
    opened = FolderContentStore.open_folder(folder)
    yield opened
    opened.close()


def test_a_content_is_a_private_file_named_by_its_digest(folder: Path, store: FolderContentStore) -> None:
    writer = store.writer()
    writer.write(b"hello")
    store.keep([writer])
    name = hashlib.sha256(b"hello").hexdigest()
    path = folder / name[:2] / name[2:]
    assert path.read_bytes() == b"hello"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list((folder / "incoming").iterdir()) == []


def test_leftovers_of_a_killed_server_are_removed_at_start_and_contents_stay(
    folder: Path, store: FolderContentStore
) -> None:
    writer = store.writer()
    writer.write(b"kept")
    (kept,) = store.keep([writer])
    store.writer().write(b"half of someth")
    assert len(list((folder / "incoming").iterdir())) == 1
    again = FolderContentStore.open_folder(folder)
    assert list((folder / "incoming").iterdir()) == []
    assert list(again.digests()) == [kept.digest]
    again.close()


def test_a_file_cut_short_by_a_failing_disk_is_replaced_when_its_bytes_come_again(
    folder: Path, store: FolderContentStore
) -> None:
    name = hashlib.sha256(b"whole").hexdigest()
    path = folder / name[:2] / name[2:]
    path.write_bytes(b"wh")
    reader = store.open(bytes.fromhex(name))
    with pytest.raises(OSError, match="shorter"):
        reader.read(0, 5)
    reader.close()
    writer = store.writer()
    writer.write(b"whole")
    store.keep([writer])
    assert path.read_bytes() == b"whole"


def test_a_full_disk_is_said_as_such(folder: Path, store: FolderContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = store.writer()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(NoSpace):
            writer.write(b"too much")
    writer.discard()
    assert list((folder / "incoming").iterdir()) == []


def test_a_folder_that_others_can_read_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    (folder / "something").touch()
    with pytest.raises(ConfigError):
        FolderContentStore.open_folder(folder)


def test_stray_files_are_no_contents(folder: Path, store: FolderContentStore) -> None:
    writer = store.writer()
    writer.write(b"kept")
    (kept,) = store.keep([writer])
    (folder / "ab" / ".nfs0001").touch()
    (folder / "ab" / ("C" * 62)).touch()
    (folder / "zz").touch()
    (folder / "lost+found").mkdir()
    assert list(store.digests()) == [kept.digest]
