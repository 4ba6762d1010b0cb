"""Metadata against a dict: whatever is done, in whatever batches, both say the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import func, select

from bitcasafs.errors import BitcasaError, Exists, IsFolder, Loop, NotEmpty, NotFolder, NotFound
from bitcasafs.server.metadata.schema import nodes, versions
from bitcasafs.values.operations import Delete, Mkdir, Move, OnExisting, Operation, Place, Put, SetAttributes
from tests.support.metadata import HandClock, Scene, failure, mode, open_scene
from tests.support.metadata_history import history, replayed

Tree = dict[str, bytes | None]
"""Paths to bytes; None is a folder. The drive itself is not in it."""

names = st.sampled_from(["a", "b", "c"])
folders = st.lists(names, max_size=2).map("/".join)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
contents = st.binary(max_size=3)


def _folder_of(tree: Tree, path: str) -> None:
    """Raises what every operation raises whose parent is no folder."""
    walked = ""
    for name in path.split("/")[:-1]:
        walked = f"{walked}/{name}" if walked else name
        if walked not in tree:
            raise NotFound(walked)
        if tree[walked] is not None:
            raise NotFolder(walked)


def _present(tree: Tree, path: str) -> None:
    _folder_of(tree, path)
    if path not in tree:
        raise NotFound(path)


def _below(tree: Tree, path: str) -> list[str]:
    return [one for one in tree if one.startswith(f"{path}/")]


def _take(tree: Tree, path: str) -> Tree:
    """Out of the tree: this path (as the empty one) and all below."""
    return {one.removeprefix(path): tree.pop(one) for one in [path, *_below(tree, path)]}


def model_mkdir(tree: Tree, path: str, exists: OnExisting) -> None:
    _folder_of(tree, path)
    if path in tree and (exists is not OnExisting.MERGE or tree[path] is not None):
        raise Exists(path)
    tree[path] = None


def model_put(tree: Tree, path: str, data: bytes, exists: OnExisting) -> None:
    _folder_of(tree, path)
    if path in tree and exists is OnExisting.FAIL:
        raise Exists(path)
    if path in tree and exists is OnExisting.OVERWRITE and tree[path] is None:
        raise IsFolder(path)
    number = 0
    free = path
    while exists is OnExisting.RENAME and free in tree:
        number += 1
        free = f"{path} ({number})"
    tree[free] = data


def model_delete(tree: Tree, path: str, *, recursive: bool) -> None:
    _present(tree, path)
    if _below(tree, path) and not recursive:
        raise NotEmpty(path)
    _take(tree, path)


def model_move(tree: Tree, path: str, to: str, exists: OnExisting) -> None:
    _present(tree, path)
    _folder_of(tree, to)
    if path == to:
        return
    if to.startswith(f"{path}/") and tree[path] is None:
        raise Loop(path)
    if exists is OnExisting.EXCHANGE:
        if to not in tree:
            raise NotFound(to)
        if path.startswith(f"{to}/"):
            raise Loop(path)
        moved, other = _take(tree, path), _take(tree, to)
        tree.update({f"{to}{one}": data for one, data in moved.items()})
        tree.update({f"{path}{one}": data for one, data in other.items()})
        return
    if to in tree:
        if exists is OnExisting.FAIL:
            raise Exists(to)
        if tree[to] is None and tree[path] is not None:
            raise IsFolder(to)
        if tree[path] is None and tree[to] is not None:
            raise NotFolder(to)
        if _below(tree, to):
            raise NotEmpty(to)
        del tree[to]
    tree.update({f"{to}{one}": data for one, data in _take(tree, path).items()})


class DriveAgainstDict(RuleBasedStateMachine):
    """Operations gather until `send`, which applies them as one batch; a batch of one is as good as any."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.scene: Scene = open_scene(Path(self.folder.name), HandClock())
        self.tree: Tree = {}
        self.waiting: list[tuple[Operation, bytes | None]] = []
        self.expected: list[type[BitcasaError] | None] = []

    def teardown(self) -> None:
        self.scene.metadata.close()
        self.folder.cleanup()

    def add(self, operation: Operation, model: Any, *arguments: Any, data: bytes | None = None, **named: Any) -> None:
        try:
            model(self.tree, *arguments, **named)
            self.expected.append(None)
        except BitcasaError as error:
            self.expected.append(type(error))
        self.waiting.append((operation, data))

    @rule(path=paths, exists=st.sampled_from([OnExisting.FAIL, OnExisting.MERGE]))
    def mkdir(self, path: str, exists: OnExisting) -> None:
        folder, name = self.scene.split(path)
        self.add(Mkdir(folder, name, exists), model_mkdir, path, exists)

    @rule(path=paths, data=contents, exists=st.sampled_from([OnExisting.FAIL, OnExisting.OVERWRITE, OnExisting.RENAME]))
    def put(self, path: str, data: bytes, exists: OnExisting) -> None:
        folder, name = self.scene.split(path)
        self.add(Put(folder, name, len(data), exists, parent_mtime_ns=7), model_put, path, data, exists, data=data)

    @rule(path=paths, recursive=st.booleans(), by_place=st.booleans())
    def delete(self, path: str, recursive: bool, by_place: bool) -> None:
        target = Place(*self.scene.split(path)) if by_place else self.scene.at(path)
        self.add(Delete(target, recursive=recursive), model_delete, path, recursive=recursive)

    @rule(
        path=paths,
        to=paths,
        exists=st.sampled_from([OnExisting.FAIL, OnExisting.OVERWRITE, OnExisting.EXCHANGE]),
    )
    def move(self, path: str, to: str, exists: OnExisting) -> None:
        folder, name = self.scene.split(to)
        self.add(Move(self.scene.at(path), folder, name, exists), model_move, path, to, exists)

    @rule(path=paths, bits=st.integers(0, 0o777))
    def set_attributes(self, path: str, bits: int) -> None:
        self.add(SetAttributes(self.scene.at(path), mode(bits)), _present, path)

    @rule()
    def send(self) -> None:
        told = self.scene.apply(*self.waiting)
        assert [failure(one) for one in told] == self.expected
        self.waiting, self.expected = [], []

    @invariant()
    def both_say_the_same(self) -> None:
        if self.waiting:
            return
        scene = self.scene
        assert scene.tree() == self.tree
        assert replayed(scene) == set(self.tree)
        files = [data for data in self.tree.values() if data is not None]
        profile = scene.metadata.profile(scene.user)
        assert (profile.files, profile.used_bytes) == (len(files), sum(map(len, files)))
        cursors = [change.cursor for change in history(scene)]
        assert cursors == sorted(set(cursors))
        with scene.metadata.database.reading() as connection:
            there = select(func.count()).select_from(nodes).where(nodes.c.deleted_ns.is_(None))
            current = select(func.count()).select_from(versions).where(versions.c.replaced_ns.is_(None))
            assert connection.execute(there).scalar_one() == len(self.tree) + 1
            assert connection.execute(current).scalar_one() == len(files)
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


DriveAgainstDict.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestDriveAgainstDict = DriveAgainstDict.TestCase
