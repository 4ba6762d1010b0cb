"""mount.bitcasafs: argv to a configuration, and what it says when it cannot mount."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitcasafs.cli.mount import configure, parse
from bitcasafs.errors import ConfigError
from bitcasafs.mount.compose import remote_config
from tests.support.mounted import Home, home


@pytest.fixture
def place() -> Iterator[Home]:
    with home() as made:
        yield made


def test_a_mountpoint_alone_is_a_drive_on_this_machine(place: Home) -> None:
    config = configure(parse([str(place.mountpoint)]), place.environment)
    assert config.portal is None
    assert config.mountpoint == place.mountpoint
    assert config.drive == place.drive
    assert config.account.parent == place.state / "accounts"
    assert config.kernel_flags == {"nosuid", "nodev"}


@pytest.mark.parametrize("source", ["none", "bitcasafs", "embedded", "/home/me/none"])
def test_fstab_may_name_no_portal(place: Home, source: str) -> None:
    argv = [source, str(place.mountpoint), "-n", "-v", "-o", "rw,noauto,user,nofail,x-systemd.automount"]
    assert configure(parse(argv), place.environment).portal is None


def test_a_portal_has_a_user_and_the_password_of_a_command(place: Home) -> None:
    argv = ["portal.example.org", str(place.mountpoint), "-o", "user=me,password_command=printf 'geheim\\nmore'"]
    config = configure(parse(argv), place.environment)
    assert config.portal is not None
    assert (config.portal.url, config.portal.user) == ("https://portal.example.org", "me")
    assert config.portal.password.reveal() == "geheim"
    assert "geheim" not in repr(config)
    assert config.source == "https://portal.example.org"


def test_options_may_stand_between_the_portal_and_the_mountpoint(place: Home) -> None:
    options = ["-o", "user=ann,password_command=echo secret"]
    argv = ["https://portal.example", *options, "--foreground", str(place.mountpoint)]
    config = configure(parse(argv), place.environment)
    assert config.portal is not None
    assert (config.portal.user, config.mountpoint) == ("ann", place.mountpoint)


def test_a_portal_without_https_must_be_allowed_before_a_password_is_asked_for(place: Home) -> None:
    argv = ["http://portal.example.org", str(place.mountpoint), "-o", "user=me,password_command=touch asked; echo x"]
    refused = place.run("mount", *argv)
    assert refused.returncode == 1
    assert "allow_http" in refused.stderr
    assert not (place.folder / "asked").exists()
    config = configure(parse([*argv, "-o", "allow_http,password_command=echo x"]), place.environment)
    assert config.portal is not None
    assert remote_config(config, None).allow_http


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("", "needs a user"),
        ("user=me", "no terminal"),
        ("user=me,password_command=exit 3", "exit 3"),
        ("user=me,password_command=true", "empty"),
        ("user=me,data=/srv", "no meaning"),
    ],
)
def test_a_portal_without_what_it_needs_is_refused(
    place: Home, options: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    argv = ["https://portal.example.org", str(place.mountpoint), *(["-o", options] if options else [])]
    with pytest.raises(ConfigError, match=reason):
        configure(parse(argv), place.environment)


def test_an_option_that_is_not_known_is_an_error_unless_sloppy(place: Home) -> None:
    with pytest.raises(ConfigError, match="upload=8 is not known"):
        configure(parse([str(place.mountpoint), "-o", "upload=8"]), place.environment)
    assert configure(parse(["-s", str(place.mountpoint), "-o", "upload=8"]), place.environment).uploads == 4


def test_no_folder_of_ours_may_lie_in_the_mountpoint(place: Home) -> None:
    with pytest.raises(ConfigError, match="drive's folder"):
        configure(parse([str(place.mountpoint), "-o", f"data={place.mountpoint}/drive"]), place.environment)


def test_a_state_folder_on_another_drive_is_refused_with_what_to_do(place: Home) -> None:
    place.mount()
    with home() as other:
        refused = other.run("mount", other.mountpoint, "-o", f"state={place.mountpoint}/state")
    assert refused.returncode == 1
    assert "is on a network file system (fuse.bitcasafs)" in refused.stderr
    assert "-o state=DIR" in refused.stderr
    assert os.listdir(place.mountpoint) == []
    assert place.umount().returncode == 0


def test_the_help_teaches_and_the_version_is_told(place: Home) -> None:
    told = place.run("mount", "--help")
    assert told.returncode == 0
    assert "mount.bitcasafs ~/bitcasa" in told.stdout
    assert "umount.bitcasafs ~/bitcasa" in told.stdout
    assert "password_command=COMMAND" in told.stdout
    assert place.run("mount", "--version").stdout.startswith("BitcasaFS ")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "MOUNTPOINT"),
        (["a", "b", "c"], "a portal and a mountpoint"),
        (["--frobnicate", "mnt"], "--frobnicate"),
        (["nowhere"], "mkdir -p"),
        (["mnt", "-o", "ttl=soon"], "ttl"),
    ],
)
def test_what_cannot_be_understood_is_said_in_a_line_or_two_with_exit_code_1(
    place: Home, argv: list[str], says: str
) -> None:
    done = place.run("mount", *argv)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_f_checks_and_mounts_nothing(place: Home) -> None:
    assert place.run("mount", "-f", place.mountpoint).returncode == 0
    assert not place.drive.exists()
    assert os.listdir(place.mountpoint) == []


def test_a_portal_that_cannot_be_reached_is_told_with_exit_code_32(place: Home) -> None:
    portal = f"unix:{place.folder}/nobody.sock"
    done = place.run("mount", portal, place.mountpoint, "-o", "user=me,password_command=echo secret,timeout=1s")
    assert done.returncode == 32
    assert "nobody.sock" in done.stderr
    assert "secret" not in done.stderr + place.logs()
    assert place.status() == []


def test_an_account_that_is_mounted_already_is_refused_with_the_pid(place: Home) -> None:
    place.mount()
    [first] = place.status()
    other = place.folder / "other"
    other.mkdir()
    done = place.run("mount", other)
    assert done.returncode == 32
    assert str(first["pid"]) in done.stderr
    assert str(place.mountpoint) in done.stderr
    assert place.umount().returncode == 0


def test_a_read_only_mount_refuses_every_change(place: Home) -> None:
    place.mount()
    (place.mountpoint / "file").write_bytes(b"x")
    assert place.umount().returncode == 0
    place.mount("-o", "ro")
    assert (place.mountpoint / "file").read_bytes() == b"x"
    with pytest.raises(OSError, match="Read-only"):
        (place.mountpoint / "file").unlink()
    assert place.umount().returncode == 0


def test_mount_shows_type_source_and_flags(place: Home) -> None:
    place.mount()
    told = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE,SOURCE,OPTIONS", place.mountpoint], check=True, capture_output=True, text=True
    ).stdout
    assert "fuse.bitcasafs" in told
    assert f"bitcasafs:{place.drive}" in told
    assert {"nosuid", "nodev", "default_permissions"} <= set(told.split()[-1].split(","))
    assert place.umount().returncode == 0


def test_ctrl_c_in_the_foreground_unmounts(place: Home) -> None:
    with place.mounted() as mount:
        (place.mountpoint / "file").write_bytes(b"x")
        mount.popen.send_signal(2)
        assert mount.popen.wait(timeout=30) == 0
    assert not os.path.ismount(place.mountpoint)
    assert "Traceback" not in mount.output()


def test_a_mountpoint_may_have_any_name(place: Home) -> None:
    odd = Path(place.folder, "a b,c\\d ünï\n")
    odd.mkdir()
    done = place.run("mount", odd)
    assert (done.returncode, done.stderr) == (0, "")
    (odd / "file").write_bytes(b"x")
    assert place.run("umount", odd).returncode == 0
    assert not os.path.ismount(odd)
