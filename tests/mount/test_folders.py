"""Where a mount keeps what, and what it refuses to cover."""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

import pytest

from bitcasafs.errors import ConfigError
from bitcasafs.mount import folders
from bitcasafs.mount.folders import (
    account_name,
    check_mountpoint,
    check_state_folder,
    clear_dead_mount,
    file_system_of,
    from_environment,
    is_dead_mount,
    mounted_file_system,
    without_links,
)

MOUNTINFO = (
    b"22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    b"40 22 0:44 / /mnt/with\\040space rw shared:7 master:1 - fuse.bitcasafs bitcasafs rw,user_id=0\n"
    b"41 22 0:45 / /mnt/twice rw - tmpfs tmpfs rw\n"
    b"42 41 0:46 / /mnt/twice rw - fuse.bitcasafs bitcasafs rw\n"
)


def test_folders_follow_the_xdg_variables(tmp_path: Path) -> None:
    told = from_environment(
        {
            "HOME": "/home/me",
            "XDG_STATE_HOME": "/s",
            "XDG_DATA_HOME": "relative/is/ignored",
            "XDG_RUNTIME_DIR": str(tmp_path),
        }
    )
    assert told.state == Path("/s/bitcasafs")
    assert told.data == Path("/home/me/.local/share/bitcasafs")
    assert told.cache == Path("/home/me/.cache/bitcasafs")
    assert told.control == (tmp_path / "bitcasafs" / "mounts", Path("/s/bitcasafs/run/mounts"))


def test_without_a_home_the_password_database_knows_it(tmp_path: Path) -> None:
    told = from_environment({}, tmp_path)
    assert told.state == Path(pwd.getpwuid(os.geteuid()).pw_dir, ".local/state/bitcasafs")
    assert told.runtime == told.state / "run"


def test_without_the_variable_the_systems_own_runtime_folder_counts(tmp_path: Path) -> None:
    mine = tmp_path / str(os.geteuid())
    mine.mkdir()
    assert from_environment({"HOME": "/home/me"}, tmp_path).runtime == mine / "bitcasafs"


def test_no_two_accounts_share_a_folder(tmp_path: Path) -> None:
    portals = [None, "https://a", "https://b", "https://a:8443", "http://a", "unix:/run/a"]
    names = [account_name(portal, user, tmp_path) for portal in portals for user in ("me", "you")]
    # The embedded drive has no user.
    assert len(set(names)) == len(names) - 1
    assert all("/" not in name for name in names)
    assert account_name(None, None, tmp_path) != account_name(None, None, tmp_path / "other")


def test_an_empty_folder_may_be_mounted_over(tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    (tmp_path / "link").symlink_to("mnt")
    assert check_mountpoint(tmp_path / "mnt", {"state": tmp_path / "state"}) == tmp_path / "mnt"
    assert check_mountpoint(tmp_path / "link", {}) == tmp_path / "mnt"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.touch(), "is not a folder"),
        (lambda path: (path / "something").mkdir(parents=True), "is not empty"),
        (lambda path: path.symlink_to("nowhere"), "does not exist"),
    ],
)
def test_what_cannot_be_mounted_over_is_refused(tmp_path: Path, make: object, reason: str) -> None:
    make(tmp_path / "mnt")  # type: ignore[operator]
    with pytest.raises(ConfigError, match=reason):
        check_mountpoint(tmp_path / "mnt", {})


@pytest.mark.parametrize("own", [".", "state", "deep/er/state"])
def test_our_own_folders_are_never_covered(tmp_path: Path, own: str) -> None:
    (tmp_path / "mnt").mkdir()
    (tmp_path / "way").symlink_to("mnt")
    with pytest.raises(ConfigError, match="would cover the state folder"):
        check_mountpoint(tmp_path / "mnt", {"state": tmp_path / "way" / own})


def test_a_mount_is_dead_when_nobody_answers_whatever_the_kernel_remembers_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_dead_mount(tmp_path)

    def unanswered(path: Path) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr(os, "statvfs", unanswered)
    assert is_dead_mount(tmp_path)


def test_a_dead_mount_that_stays_is_told_with_the_command_that_takes_it_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "mounted_file_system", lambda place: folders.FILE_SYSTEM)
    monkeypatch.setattr(folders, "is_dead_mount", lambda place: True)
    with pytest.raises(ConfigError, match=f"`fusermount3 -u -z {tmp_path}`"):
        clear_dead_mount(tmp_path)


def test_links_are_followed_to_the_last_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "deep" / "mnt").mkdir(parents=True)
    (tmp_path / "first").symlink_to("deep/second")
    (tmp_path / "deep" / "second").symlink_to("../deep/mnt")
    (tmp_path / "circle").symlink_to("circle")
    assert without_links(tmp_path / "first") == tmp_path / "deep" / "mnt"
    assert without_links(tmp_path / "absent") == tmp_path / "absent"
    assert without_links(tmp_path / "circle") == tmp_path / "circle"


def test_where_something_is_mounted_nothing_is_mounted_again() -> None:
    with pytest.raises(ConfigError, match="mounted at /proc already"):
        check_mountpoint(Path("/proc"), {})


def test_the_mount_table_is_read_with_its_escapes_and_the_uppermost_counts(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(MOUNTINFO)
    assert mounted_file_system(Path("/mnt/with space"), table) == "fuse.bitcasafs"
    assert mounted_file_system(Path("/mnt/twice"), table) == "fuse.bitcasafs"
    assert mounted_file_system(Path("/"), table) == "ext4"
    assert mounted_file_system(Path("/mnt"), table) is None


NETWORK = (
    b"22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    b"30 22 0:50 / /home rw,relatime shared:9 - nfs4 files.example.org:/home rw,vers=4.2,hard\n"
    b"31 30 0:51 / /home/me/local rw - xfs /dev/vdb rw\n"
    b"32 22 0:52 / /mnt/with\\040space rw shared:7 master:1 - cifs //files/share rw\n"
    b"33 22 0:53 / /auto rw - autofs systemd-1 rw,fd=42,direct\n"
    b"34 33 0:54 / /auto rw - nfs files.example.org:/auto rw,vers=3\n"
    b"35 22 0:55 / /hidden rw - 9p host rw,trans=virtio\n"
    b"36 35 0:56 / /hidden rw - tmpfs tmpfs rw\n"
    b"37 22 0:57 / /drive rw,nosuid,nodev - fuse.bitcasafs https://portal.example.org rw,user_id=0\n"
    b"38 22 0:58 / /odd\\011\xff rw - fuse.sshfs me@host: rw\n"
)
KINDS = {
    "/": "ext4",
    "/srv/state": "ext4",
    "/home": "nfs4",
    "/home/me/.local/state/bitcasafs": "nfs4",
    "/homes/me": "ext4",
    "/home/me/local/state": "xfs",
    "/home/me/locality": "nfs4",
    "/mnt/with space/state": "cifs",
    "/auto/state": "nfs",
    "/hidden/state": "tmpfs",
    "/drive/state": "fuse.bitcasafs",
    "/odd\t\udcff/state": "fuse.sshfs",
}


@pytest.mark.parametrize(("path", "kind"), KINDS.items(), ids=range(len(KINDS)))
def test_what_holds_a_folder_is_the_nearest_mount_above_it(path: str, kind: str) -> None:
    assert file_system_of(Path(path), NETWORK) == kind


def test_a_table_without_a_root_tells_nothing() -> None:
    assert file_system_of(Path("/srv"), b"") is None


@pytest.mark.parametrize(("path", "kind"), KINDS.items(), ids=range(len(KINDS)))
def test_a_state_folder_on_the_network_is_refused_with_what_to_do(tmp_path: Path, path: str, kind: str) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(NETWORK)
    if kind in ("ext4", "xfs", "tmpfs"):
        check_state_folder(Path(path), table)
    else:
        with pytest.raises(ConfigError, match=rf"\({kind}\).* -o state=DIR"):
            check_state_folder(Path(path), table)


def test_a_link_to_the_network_is_seen_through(tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to("/home/me")
    table = tmp_path / "mountinfo"
    table.write_bytes(NETWORK)
    with pytest.raises(ConfigError, match="nfs4"):
        check_state_folder(tmp_path / "state" / "not there yet", table)


def test_the_folders_of_this_machine_are_local(tmp_path: Path) -> None:
    check_state_folder(tmp_path)
