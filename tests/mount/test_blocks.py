"""Which block store a mount has, and that it does without one rather than not start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bitcasafs.logs import Secret
from bitcasafs.mount.blocks import open_blocks
from bitcasafs.mount.config import MountConfig, PortalLogin, pick
from bitcasafs.mount.folders import Folders
from bitcasafs.options import parse_options
from bitcasafs.reading.blocks import Blocks
from bitcasafs.remote.interface import ContentRef


@pytest.fixture
def config(tmp_path: Path) -> MountConfig:
    folders = Folders(tmp_path / "state", tmp_path / "data", tmp_path / "cache", tmp_path / "run")
    login = PortalLogin("https://portal.example.org", "me", Secret("geheim"))
    account = folders.account(login.url, login.user, tmp_path)
    return MountConfig(tmp_path / "mnt", folders, account, folders.default_drive, login)


def test_beside_a_portal_ten_gibibytes_are_kept(config: MountConfig) -> None:
    blocks = open_blocks(config)
    assert blocks is not None
    assert blocks.statistics().limit_bytes == 10 << 30
    blocks.close()
    assert config.blocks == config.folders.cache / "me@portal.example.org" / "blocks"
    assert config.blocks.is_dir()


def test_of_a_drive_on_this_machine_nothing_is_kept_unless_asked_for(config: MountConfig) -> None:
    embedded = replace(config, portal=None)
    assert open_blocks(embedded) is None
    assert not config.folders.cache.exists()
    blocks = open_blocks(replace(embedded, cache_bytes=1 << 20))
    assert blocks is not None
    assert blocks.statistics().limit_bytes == 1 << 20
    blocks.close()


def test_the_option_says_how_much() -> None:
    assert pick(parse_options(["cache_size=64M"]), {}).cache_bytes == 64 << 20
    assert pick(parse_options(["cache_size=0"]), {}).cache_bytes == 0
    assert pick(parse_options([]), {}).cache_bytes is None


def test_what_is_to_stay_free_stays_free_of_it(config: MountConfig) -> None:
    blocks = open_blocks(replace(config, keep_free_bytes=1 << 62))
    assert blocks is not None
    lease = blocks.lease(ContentRef("n", 3))
    lease.store(0, b"abc")
    assert blocks.statistics().dropped_blocks == 1
    lease.close()
    blocks.close()


@pytest.mark.allow_log("not kept on this disk: another process")
def test_a_store_that_another_mount_has_is_done_without(config: MountConfig) -> None:
    first = Blocks(config.blocks)
    assert open_blocks(config) is None
    first.close()


@pytest.mark.allow_log("not kept on this disk: .* is not a folder")
def test_a_store_that_cannot_be_opened_ends_no_mount(config: MountConfig) -> None:
    config.blocks.parent.mkdir(parents=True)
    config.blocks.write_bytes(b"")
    assert open_blocks(config) is None
