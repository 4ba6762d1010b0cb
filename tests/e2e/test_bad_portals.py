"""A portal that is not there, is none, or has a bad day: one clear line at mount; in a running mount an error in time,
and everything as before when the portal is well again."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.faults import Fault, HalfBody, Refuse, ResetResponse, Rule, Script, Stall, Status
from tests.support.mounted import Home, home, wait_until
from tests.support.processes import free_port
from tests.support.sites import Site, slow_on_historical, umount

NETWORK_ERRORS = {errno.EIO, errno.ETIMEDOUT, errno.ENETUNREACH}
HTML = Status(
    200, body=b"<!DOCTYPE html><html><title>Welcome</title>Under construction</html>",
    headers=(("Content-Type", "text/html; charset=utf-8"),),
)  # fmt: skip
BROKEN_JSON = Status(200, body=b'{"error": null, "result": [', headers=(("Content-Type", "application/json"),))
FAULTS: dict[str, Fault] = {
    "html": HTML,
    "500": Status(500, body=b"Internal Server Error"),
    "half a body": HalfBody(),
    "broken json": BROKEN_JSON,
    "silence": Stall(),
    "hotel": Status(302, body=HTML.body, headers=(*HTML.headers, ("Location", "http://hotel.invalid/welcome"))),
}
"""By name."""


def quick_are(quick: set[str], names: Iterable[str]) -> list[object]:
    """Of the parameters `names` those that a person waits for; the others are slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(autouse=True)
def _well_again(portal: Site) -> Iterator[None]:
    yield
    portal.heal()


# --- at mount ---------------------------------------------------------------------------------------------------------


def assert_refused(place: Home, arguments: list[str], code: int = 32) -> str:
    """One line that names no Python; nothing is mounted, and nothing runs. Answers the line."""
    done = place.run("mount", *arguments, place.mountpoint)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("mount.bitcasafs: ")
    assert "Traceback" not in line
    assert f" {place.mountpoint} fuse" not in Path("/proc/self/mounts").read_text()
    assert place.status() == []
    return line


def test_a_wrong_password_is_said_in_a_line(portal: Site, place: Home) -> None:
    arguments = portal.arguments(place)
    (place.folder / "secret").write_text("not the password")
    line = assert_refused(place, arguments)
    assert "password" in line
    assert "not the password" not in line + place.logs()
    portal.mount(place)  # the next attempt, with the right one, is as good as any
    umount(place)


@slow_on_historical
def test_a_password_command_that_fails_is_said_in_a_line(portal: Site, place: Home) -> None:
    arguments = ["-o", "user=ann,password_command=false", portal.url]
    assert "password command failed" in assert_refused(place, arguments, 1)


@slow_on_historical
@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "https://127.0.0.1:{port}", "unix:/nowhere/portal"])
def test_an_unreachable_portal_is_said_in_a_line(portal: Site, place: Home, address: str) -> None:
    url = address.format(port=free_port())
    line = assert_refused(place, portal.arguments(place, "timeout=1s", url=url))
    assert url in line
    assert "cannot be reached" in line


@slow_on_historical
def test_a_portal_without_tls_at_an_https_address_is_said_in_a_line(portal: Site, place: Home) -> None:
    url = portal.url.replace("http://", "https://")
    assert url in assert_refused(place, portal.arguments(place, "timeout=1s", url=url))


@pytest.mark.parametrize("fault", quick_are({"html", "broken json"}, FAULTS))
def test_a_portal_that_has_no_good_listing_is_said_in_a_line(portal: Site, place: Home, fault: str) -> None:
    portal.proxy.script = Script([Rule(FAULTS[fault], path="^/directory/")])
    assert_refused(place, portal.arguments(place, "timeout=1s"))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_portal_is_said_in_a_line(portal: Site, place: Home, fault: str) -> None:
    befall(portal, FAULTS[fault])
    assert_refused(place, portal.arguments(place, "timeout=1s"))
    portal.heal()
    portal.mount(place)
    umount(place)


# --- in a running mount -----------------------------------------------------------------------------------------------

RUNNING: dict[str, Fault | None] = {
    **FAULTS,
    # Of a file read half at a time, the halves are put together: that takes long, but it is no failure.
    "half a body": HalfBody(at_bytes=0),
    "resets": ResetResponse(at_bytes=0),
    "refusals": Refuse(),
    "busy": Status(503, retry_after_seconds=1),
    "unreachable": None,
}
GATEWAYS = {
    f"gateway {code}": Status(code, body=HTML.body, headers=HTML.headers) for code in (400, 403, 404, 405, 413, 502)
}
"""What stands before a portal and has lost it. Of a portal that explains its refusals none of these is believed."""


def befall(site: Site, fault: Fault | None) -> None:
    """Every request from now on; None: nobody is there."""
    if fault is None:
        site.proxy.shut()
    else:
        site.proxy.script = Script([Rule(fault)])


@pytest.fixture(scope="module")
def running(portal: Site) -> Iterator[Home]:
    """A mount that lives through all the faults of this module, and has not listed the folders made for them. Nothing
    is fresh in it: each question goes to the portal."""
    with home() as first:
        portal.mount(first)
        for name in (*RUNNING, *GATEWAYS):
            folder = first.mountpoint / name
            (folder / "unlisted").mkdir(parents=True)
            (folder / "unlisted" / "deep").write_bytes(b"deep")
            (folder / "file").write_bytes(content_for(name))
        umount(first)
    with home() as made:
        portal.mount(made, "timeout=1s,ttl=0s")
        yield made
        umount(made)


def content_for(name: str) -> bytes:
    return random.Random(name).randbytes(500_000)


@pytest.mark.parametrize("fault", quick_are({"html", "half a body", "unreachable"}, RUNNING))
def test_a_running_mount_says_that_the_portal_is_ill_and_recovers_by_itself(
    portal: Site, running: Home, other: Home, fault: str
) -> None:
    lives_through(portal, running, other, fault, RUNNING[fault])


@pytest.mark.parametrize("portal", [False], ids=["extended"], indirect=True)
@pytest.mark.parametrize("fault", quick_are({"gateway 404"}, GATEWAYS))
def test_a_gateway_that_has_lost_the_portal_speaks_for_nobody(
    portal: Site, running: Home, other: Home, fault: str
) -> None:
    lives_through(portal, running, other, fault, GATEWAYS[fault])


def lives_through(portal: Site, running: Home, other: Home, name: str, fault: Fault | None) -> None:
    """Errors of the network while it lasts, what is known and what is written stays; then everything goes on."""
    folder, content = running.mountpoint / name, content_for(name)
    assert sorted(os.listdir(folder)) == ["file", "unlisted"]
    befall(portal, fault)
    assert_fails([(folder / "file").read_bytes, lambda: os.listdir(folder / "unlisted")])
    assert sorted(os.listdir(folder)) == ["file", "unlisted"]  # what is known is known
    (folder / "written meanwhile").write_bytes(content)
    assert (folder / "written meanwhile").read_bytes() == content

    portal.heal()
    wait_until(lambda: reads(folder / "unlisted" / "deep", b"deep"), "the folder can be listed")
    assert (folder / "file").read_bytes() == content
    assert running.run("bitcasafs", "sync", folder).returncode == 0
    assert running.status()[0]["problem_count"] == 0
    portal.mount(other)
    assert (other.mountpoint / name / "written meanwhile").read_bytes() == content
    umount(other)


def reads(path: Path, content: bytes) -> bool:
    """Whether that is what it holds; errors of the network mean not yet."""
    try:
        return path.read_bytes() == content
    except OSError as error:
        if error.errno not in NETWORK_ERRORS:
            raise
        return False


def assert_fails(calls: list[Callable[[], object]]) -> None:
    """Each with an error of the network, all at once (each may take the time-out), none later than that and a bit."""
    ends: list[object] = [None] * len(calls)

    def end(number: int) -> None:
        try:
            ends[number] = calls[number]()
        except OSError as error:
            ends[number] = error.errno

    threads = [threading.Thread(target=end, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert {end if isinstance(end, int) else type(end) for end in ends} <= NETWORK_ERRORS, ends
