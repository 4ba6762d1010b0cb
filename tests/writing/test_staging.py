"""Staged files beside a bytearray, on a full disk, killed in the middle, and under names that nobody should use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from bitcasafs.errors import NoSpace
from bitcasafs.writing.ranges import Ranges
from bitcasafs.writing.staging import StagedFile, Staging
from bitcasafs.writing.written_map import map_path, replayed
from tests.support.strategies import names

BASE = bytes(range(1, 61))
PLACE = st.integers(0, 80)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PLACE, st.binary(max_size=20)),
        st.tuples(st.just("truncate"), PLACE),
        st.tuples(st.just("fill"), st.integers(0, 60), st.integers(0, 60)),
        st.tuples(st.just("reopen")),
    ),
    max_size=20,
)


def seen(staged: StagedFile, base: bytes) -> bytes:
    """What a reader is told: holes from the base, the rest from the file."""
    data = bytearray(staged.read(0, 1000))
    for start, stop in staged.holes(0, 1000):
        data[start:stop] = base[start:stop]
    return bytes(data)


def again(folder: Path, staged: StagedFile, limit: int) -> StagedFile:
    """The file as the next mount finds it after a kill: of what was written since `limit` counted the map tells."""
    base_limit, written = replayed(map_path(staged.path), limit, Ranges())
    return Staging(folder).open(staged.name, staged.path.stat().st_size, base_limit, written)


def test_a_folder_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "account" / "staged")
    shutil.rmtree(tmp_path / "account")
    staged = staging.create(1, "letter", base_limit=4)
    assert staged.write(0, b"dear") == 4
    assert staged.path.read_bytes() == b"dear"
    assert staging.folder.stat().st_mode & 0o777 == 0o700


@given(STEPS, st.integers(0, 60))
@example([("write", 10, b"abc"), ("fill", 0, 60), ("write", 20, b"xyz"), ("reopen",)], 60)
@example([("fill", 0, 30), ("write", 5, b"over"), ("reopen",)], 60)
@example([("write", 0, b"x"), ("truncate", 20), ("truncate", 70), ("reopen",)], 60)
def test_any_order_of_changes_and_fills_gives_what_a_bytearray_gives(steps: list[tuple[Any, ...]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        staging = Staging(folder)
        staged = staging.create(1, "file", size_bytes=limit, base_limit=limit)
        model = bytearray(BASE[:limit])
        for step, *arguments in steps:
            match [step, *arguments]:
                case "write", offset, data:
                    assert staged.write(offset, data) == len(data)
                    if data:
                        model.extend(bytes(max(0, offset - len(model))))
                        model[offset : offset + len(data)] = data
                case "truncate", size:
                    staged.truncate(size)
                    del model[size:]
                    model.extend(bytes(size - len(model)))
                case "fill", start, stop:
                    staged.fill(start, BASE[start:stop])
                case _:
                    staging.close()
                    staged = again(folder, staged, limit)
            assert seen(staged, BASE) == model
            assert staged.size_bytes == len(model) == staged.path.stat().st_size
            assert staged.read(3, 17) == staged.read(0, 1000)[3:17]
        staged.fill(0, BASE)
        assert staged.whole
        assert staged.read(0, 1000) == model
        staging.close()


def test_only_what_was_not_written_is_asked_of_the_base(tmp_path: Path) -> None:
    staged = Staging(tmp_path).create(1, "a", size_bytes=100, base_limit=100)
    staged.write(10, b"x" * 20)
    assert staged.holes(0, 1000) == [(0, 10), (30, 100)]
    staged.truncate(50)
    staged.truncate(200)
    assert staged.holes(0, 1000) == [(0, 10), (30, 50)]
    staged.write(0, b"y" * 10)
    assert staged.holes(0, 1000) == [(30, 50)]
    staged.fill(30, b"z" * 20)
    assert staged.holes(0, 1000) == []
    assert staged.whole


async def test_a_copy_has_the_same_bytes_and_holes_and_goes_its_own_way(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    original = staging.create(1, "a", size_bytes=10, base_limit=10)
    original.write(2, b"abc")
    copy = await staging.copy(original, 1, "a")
    assert copy.path != original.path
    assert (copy.read(0, 10), copy.holes(0, 10)) == (original.read(0, 10), original.holes(0, 10))
    copy.write(0, b"COPY")
    original.write(8, b"long tail")
    assert copy.read(0, 99) == b"COPYc" + bytes(5)
    assert original.read(0, 99) == bytes(2) + b"abc" + bytes(3) + b"long tail"
    assert copy.holes(0, 99) == [(5, 10)]


async def test_a_copy_is_whole_though_its_original_is_closed_and_removed_meanwhile(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    original = staging.create(1, "a")
    original.write(0, b"x" * 3_000_000)
    copies: list[StagedFile] = []

    async def copy() -> None:
        copies.append(await staging.copy(original, 1, "a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(copy)
        await begun(staging)
        original.close()
        staging.remove(original.name)
    assert copies[0].read(0, 4_000_000) == b"x" * 3_000_000
    assert staging.names() == {copies[0].name}


async def test_the_descriptor_of_what_was_removed_while_it_was_copied_is_given_back(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    original = staging.create(1, "a")
    original.write(0, b"x" * 100_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(staging.copy, original, 1, "a")
        await begun(staging)
        original.close()
        staging.remove(original.name)
    assert [name for name in open_staged_files(tmp_path) if "deleted" in name] == []


async def begun(staging: Staging) -> None:
    """The copy has its file, and the thread its descriptors."""
    while len(staging.names()) < 2:
        await trio.lowlevel.checkpoint()


def open_staged_files(folder: Path) -> list[str]:
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            continue
        if target.startswith(str(folder)):
            found.append(target)
    return found


def test_two_files_of_one_name_and_serial_never_share_their_bytes(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    first, second = staging.create(1, "same"), staging.create(1, "same")
    first.write(0, b"one")
    second.write(0, b"second")
    assert (first.read(0, 9), second.read(0, 9)) == (b"one", b"second")


def test_ten_thousand_staged_files_need_few_descriptors(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    files = [staging.create(number, "f") for number in range(1000)]
    for number, staged in enumerate(files):
        staged.write(0, str(number).encode())
    assert len(open_staged_files(tmp_path)) <= 201
    assert [staged.read(0, 9) for staged in files] == [str(number).encode() for number in range(1000)]
    assert len(open_staged_files(tmp_path)) <= 201
    staging.close()
    assert open_staged_files(tmp_path) == []


def test_a_file_that_lost_its_name_is_read_and_written_to_its_end(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    staged = staging.create(1, "gone", size_bytes=4, base_limit=4)
    staged.lose_name()
    staging.remove(staged.name)
    others = [staging.create(number, "f") for number in range(300)]  # pushes out every descriptor that may go
    staged.write(1, b"bc")
    assert staged.read(0, 9) == b"\0bc\0"
    assert staged.holes(0, 9) == [(0, 1), (3, 4)]
    staged.close()
    assert [name for name in open_staged_files(tmp_path) if "gone" in name] == []
    assert len(others) == 300


@given(names)
def test_a_staged_file_is_found_by_the_name_that_its_user_gave(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        staging = Staging(Path(folder))
        staged = staging.create(12, name)
        staged.write(0, b"x")
        assert staged.path.parent == Path(folder)
        assert len(staged.name.encode()) <= 255
        assert staged.name.isprintable()
        assert staging.names() == {staged.name}
        staging.close()


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("letter.odt", "00000012 letter.odt"),
        ("märz 日本.txt", "00000012 märz 日本.txt"),
        ("a\nb\x1b[31m", "00000012 a_b_[31m"),
        ("..", "00000012 .."),
        ("x.map", "00000012 x.map"),
        ("ä" * 127, "00000012 " + "ä" * 100),
    ],
)
def test_the_name_in_the_folder_is_the_users_without_what_a_terminal_would_obey(
    tmp_path: Path, name: str, readable: str
) -> None:
    assert Staging(tmp_path).create(12, name).name == readable


def test_the_map_of_one_file_is_never_taken_for_another_file(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    holey = staging.create(1, "x", size_bytes=10, base_limit=10)
    holey.write(0, b"a")
    named_like_it = staging.create(1, map_path(holey.path).name)
    named_like_it.write(0, b"content")
    assert staging.names() == {holey.name, named_like_it.name}
    staging.remove(holey.name)
    assert named_like_it.read(0, 9) == b"content"
    assert {path.name for path in tmp_path.iterdir()} == {named_like_it.name}


# --- a full disk ------------------------------------------------------------------------------------------------------


def test_what_a_full_disk_does_not_take_is_no_space_and_counts_for_nothing(tmp_path: Path) -> None:
    name = "00000001 full"
    (tmp_path / name).touch()
    plain = Staging(tmp_path).open(name, 100, 0, Ranges())
    holey = Staging(tmp_path).open(name, 100, 100, Ranges([(0, 10)]))
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/full")  # opened only now
    with pytest.raises(NoSpace):
        plain.write(100, b"more")
    assert plain.size_bytes == 100
    with pytest.raises(NoSpace):
        holey.fill(0, bytes(100))
    assert holey.holes(0, 100) == [(10, 100)]


LIMITED = """
import resource, sys
from pathlib import Path
from bitcasafs.writing.staging import Staging
staging = Staging(Path(sys.argv[1]))
staged = staging.create(1, "f")
assert staged.write(0, b"a" * 6000) == 6000
resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
assert staged.write(5000, b"b" * 8000) == 5000
try:
    staged.write(10000, b"c")
except OSError as error:
    print(error.strerror)
try:
    staged.truncate(20000)
except OSError as error:
    print(error.strerror)
assert staged.size_bytes == 10000
assert staged.read(0, 20000) == b"a" * 5000 + b"b" * 5000
staged.truncate(8000)
assert staged.write(9000, b"d" * 10) == 10
assert staged.read(0, 20000) == b"a" * 5000 + b"b" * 3000 + bytes(1000) + b"d" * 10
"""


def test_a_disk_that_becomes_full_in_the_middle_of_a_write_takes_what_fits_and_says_how_much(tmp_path: Path) -> None:
    """A limit on the length of files stops writes as a full disk does: a short write first, then an error."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, ["File too large"] * 2, "")


def test_a_file_that_somebody_removed_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Staging(tmp_path).open("00000001 nothing", 10, 0, Ranges())
    assert list(tmp_path.iterdir()) == []


async def test_a_copy_is_a_file_of_its_own_whether_the_disk_shares_its_blocks_or_not(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    original = staging.create(1, "a")
    original.write(0, b"first" * 1000)
    assert staging.clones in (True, False)
    assert staging.names() == {original.name}
    copy = await staging.copy(original, 2, "a")
    original.write(0, b"later")
    assert copy.read(0, 10_000) == b"first" * 1000
    staging.close()
