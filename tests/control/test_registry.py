"""Which mounts run: found by mountpoint, by outbox, and not any more when their process was killed."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from bitcasafs.control.registry import Registered, Registry


@contextlib.contextmanager
def registered(registry: Registry, mountpoint: str, pid: int, state: str = "/state") -> Iterator[Registered]:
    """An entry whose socket somebody listens on inside the block; after it the entry stays, as after a kill."""
    entry = Registered(Path(mountpoint), pid, "https://portal", Path(state), registry.socket_for(Path(mountpoint), pid))
    registry.add(entry)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(entry.socket))
        listener.listen()
        yield entry


def test_a_mount_is_found_by_its_mountpoint_and_by_its_outbox(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "mounts")
    with registered(registry, "/mnt/a", 1, "/state/a") as a, registered(registry, "/mnt/b", 2, "/state/b") as b:
        assert registry.find(Path("/mnt/a")) == a
        assert registry.find(Path("/mnt")) is None
        assert registry.of_state(Path("/state/b")) == b
        assert registry.all_mounts() == [a, b]


def test_nothing_is_found_where_nothing_was_ever_mounted(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "mounts")
    assert registry.find(Path("/mnt")) is None
    assert registry.all_mounts() == []


def test_a_killed_mount_is_left_out_and_its_files_are_taken_away(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "mounts")
    with registered(registry, "/mnt", 1):
        pass
    assert registry.find(Path("/mnt")) is None
    assert list((tmp_path / "mounts").iterdir()) == []


def test_the_latest_of_two_on_one_mountpoint_is_found_and_removing_one_leaves_the_other(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "mounts")
    with registered(registry, "/mnt", 10) as older, registered(registry, "/mnt", 9) as newer:
        assert registry.find(Path("/mnt")) == newer
        registry.remove(newer)
        registry.remove(newer)
        assert registry.find(Path("/mnt")) == older


def test_a_mount_that_registered_elsewhere_is_found_too(tmp_path: Path) -> None:
    early = Registry(tmp_path / "state")
    with registered(early, "/mnt", 1) as entry:
        assert Registry(tmp_path / "runtime", tmp_path / "state").find(Path("/mnt")) == entry
        assert Registry(tmp_path / "runtime").find(Path("/mnt")) is None


def test_the_folder_is_this_users_alone(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "mounts")
    with registered(registry, "/mnt", 1) as entry:
        assert (tmp_path / "mounts").stat().st_mode & 0o077 == 0
        assert entry.socket.with_suffix(".json").stat().st_mode & 0o077 == 0


def test_a_file_that_is_none_of_ours_is_ignored(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "mounts")
    with registered(registry, "/mnt", 1) as entry:
        (tmp_path / "mounts" / "stray.json").write_text("{")
        (tmp_path / "mounts" / "other.json").write_text('{"pid": []}')
        assert registry.all_mounts() == [entry]
