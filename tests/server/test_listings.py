"""Listings on a real server: both shapes, windows, orders, and a folder of 100,000."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from bitcasafs.dialects.listing import decode_listing, decode_window
from bitcasafs.values.items import Address
from bitcasafs.values.operations import Mkdir, Symlink
from tests.support.portal_session import Drive
from tests.support.server import RunningServer, serving

MIB = 1024 * 1024


def test_the_drive_is_the_first_root_and_needs_no_window(drive: Drive) -> None:
    for path in ("/directory", "/directory/", "/directory/?show-incomplete=true"):
        roots = drive.client.get(path).json()
        assert roots[0]["name"] == "Bitcasa Infinite Drive"
        assert roots[0]["sync_type"] == "infinite drive"
    windowed = drive.client.get("/directory/?top=0&bottom=500").json()
    assert (windowed["length"], windowed["range"]) == (1, {"top": 0, "bottom": 1})


def test_windows_tell_where_they_end_and_lead_through_the_whole_folder(drive: Drive) -> None:
    drive.make_folder("windows")
    drive.batch(*(Mkdir(Address(drive.at("windows")), f"f{number:04}") for number in range(600)))
    path = f"/directory{drive.at('windows')}"
    first = decode_window(drive.client.get(path, params={"top": 0}).content)
    assert (len(first[0]), first[1], first[2]) == (500, 500, 600)
    rest = decode_window(drive.client.get(path, params={"top": 500, "bottom": 1000}).content)
    assert (len(rest[0]), rest[1], rest[2]) == (100, 600, 600)
    everything = decode_listing(drive.client.get(path).content)
    assert everything == first[0] + rest[0]
    assert decode_window(drive.client.get(path, params={"top": 700, "bottom": 800}).content)[0] == ()


def test_rows_are_sorted_as_asked(drive: Drive) -> None:
    drive.make_folder("sorted")
    for name, size in (("b", 3), ("a", 2), ("c", 1)):
        drive.upload(name, bytes(size), "sorted")
    path = f"/directory{drive.at('sorted')}"

    def names(**query: str) -> str:
        return "".join(row["name"] for row in drive.client.get(path, params=query).json())

    assert names() == "abc"
    assert names(sort_ascending="false") == "cba"
    assert names(sort_column="size") == "cab"
    assert names(sort_column="nonsense") == "abc"


def test_a_listing_of_no_folder_is_refused(drive: Drive) -> None:
    drive.upload("plain file", b"x")
    assert drive.client.get(f"/directory{drive.at('absent')}").status_code == 404
    assert drive.client.get(f"/directory{drive.at('plain file')}").status_code == 409
    assert drive.client.get("/directory/nonsense").status_code == 404
    assert drive.client.get(f"/directory/{'0' * 64}").status_code == 404


def test_long_listings_end_cleanly_when_their_reader_goes_away(server: RunningServer, drive: Drive) -> None:
    drive.make_folder("left")
    folder = Address(drive.at("left"))
    for start in (0, 1000):
        drive.batch(*(Symlink(folder, f"l{start + number}", "x" * 1000) for number in range(1000)))
    for _ in range(20):
        with Drive.of(server) as other, other.client.stream("GET", f"/directory{drive.at('left')}") as answer:
            next(answer.iter_raw())
    assert len(drive.rows("left")) == 2000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_folder_of_a_hundred_thousand_lists_whole_in_little_memory(tmp_path: Path) -> None:
    with serving(tmp_path, unix=True) as server, Drive.of(server) as drive:
        drive.make_folder("many")
        folder = Address(drive.at("many"))
        names = [f"item {number:06}" for number in range(100_000)]
        for start in range(0, len(names), 1000):
            said = drive.batch(*(Mkdir(folder, name) for name in itertools.islice(names, start, start + 1000)))
            assert all(line["status"] == 201 for line in said)
        items = decode_listing(drive.client.get(f"/directory{drive.at('many')}").content)
        assert [item.name for item in items] == names
        window = drive.client.get(f"/directory{drive.at('many')}", params={"top": 99_990, "bottom": 200_000})
        assert [item.name for item in decode_window(window.content)[0]] == names[-10:]
        assert server.process.usage().peak_rss_bytes < 150 * MIB
