"""What every content store keeps: the contract of server/content/interface.py, on each implementation."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitcasafs.errors import NotFound
from bitcasafs.server.content.folder import FolderContentStore
from bitcasafs.server.content.interface import ContentStore
from bitcasafs.server.content.memory import MemoryContentStore


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ContentStore]:
    opened: ContentStore = (
        MemoryContentStore() if request.param == "memory" else FolderContentStore.open_folder(tmp_path / "content")
    )
    yield opened
    opened.close()


def put(store: ContentStore, *pieces: bytes) -> bytes:
    writer = store.writer()
    for piece in pieces:
        writer.write(piece)
    (kept,) = store.keep([writer])
    return kept.digest


def test_what_was_written_in_pieces_is_read_back_by_its_digest(store: ContentStore) -> None:
    writer = store.writer()
    writer.write(b"one ")
    writer.write(bytearray(b"two "))
    writer.write(memoryview(b"three"))
    assert writer.size_bytes == 13
    (kept,) = store.keep([writer])
    whole = b"one two three"
    assert kept.digest == hashlib.sha256(whole).digest()
    assert kept.md5 == hashlib.md5(whole).hexdigest()
    assert kept.size_bytes == len(whole)
    reader = store.open(kept.digest)
    assert reader.size_bytes == len(whole)
    assert reader.read(0, len(whole)) == whole
    assert reader.read(4, 7) == b"two"
    assert whole[4:7].startswith(reader.read_at_once(4, 7))
    reader.close()
    reader.close()


def test_nothing_is_there_before_it_is_kept(store: ContentStore) -> None:
    writer = store.writer()
    writer.write(b"not yet")
    content = writer.finish()
    assert writer.finish() == content
    with pytest.raises(NotFound):
        store.open(content.digest)
    assert list(store.digests()) == []
    store.keep([writer])
    assert list(store.digests()) == [content.digest]


def test_what_was_discarded_leaves_nothing_and_discarding_after_keeping_does_nothing(store: ContentStore) -> None:
    given_up = store.writer()
    given_up.write(b"given up")
    given_up.discard()
    given_up.discard()
    kept = store.writer()
    kept.write(b"kept")
    (content,) = store.keep([kept])
    kept.discard()
    assert list(store.digests()) == [content.digest]
    store.open(content.digest).close()


def test_many_are_kept_together_and_equal_ones_once(store: ContentStore) -> None:
    writers = []
    for number in range(100):
        writer = store.writer()
        writer.write(b"content %d" % (number % 50))
        writers.append(writer)
    kept = store.keep(writers)
    assert [content.digest for content in kept] == [
        hashlib.sha256(b"content %d" % (number % 50)).digest() for number in range(100)
    ]
    assert set(store.digests()) == {content.digest for content in kept}
    assert len(list(store.digests())) == 50


def test_the_empty_content_can_be_kept(store: ContentStore) -> None:
    writer = store.writer()
    (kept,) = store.keep([writer])
    assert kept.size_bytes == 0
    reader = store.open(kept.digest)
    assert reader.read(0, 0) == b""
    reader.close()


def test_an_open_content_is_read_to_its_end_though_it_was_removed(store: ContentStore) -> None:
    digest = put(store, b"still here")
    reader = store.open(digest)
    store.remove(digest)
    store.remove(digest)
    assert reader.read(0, 10) == b"still here"
    reader.close()
    with pytest.raises(NotFound):
        store.open(digest)


def test_equal_contents_from_many_threads_are_one(store: ContentStore) -> None:
    digests: list[bytes] = []
    threads = [threading.Thread(target=lambda: digests.append(put(store, b"the same", b" bytes"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(digests)) == 1
    assert list(store.digests()) == [digests[0]]
    reader = store.open(digests[0])
    assert reader.read(0, 14) == b"the same bytes"
    reader.close()
