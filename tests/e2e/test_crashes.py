"""kill -9 of the mount, of the server and of both at random moments under load: what writers were told is there.

The moments are chance. `BITCASAFS_CRASH_SEED` repeats the deeds and what is killed (not when, to the microsecond),
`BITCASAFS_CRASH_KILLS` sets how many kills the `long` test does.
"""

from __future__ import annotations

import contextlib
import enum
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.support.manifest import Writer
from tests.support.mounted import Home
from tests.support.portal_session import Drive
from tests.support.processes import ROOT, NotReady, Process, running
from tests.support.server import PASSWORD, RunningServer, serving
from tests.support.sites import umount

WRITERS = 3
SLOW_SECONDS = 30.0
"""Of killing; before and after it something happens as well."""
LONG_KILLS = int(os.environ.get("BITCASAFS_CRASH_KILLS", "300"))
OPTIONS = "timeout=5s"


class Victim(enum.Enum):
    MOUNT = "mount"
    SERVER = "server"
    BOTH = "both"
    RECOVERY = "mount in its recovery"


VICTIMS = (*[Victim.MOUNT] * 4, Victim.SERVER, Victim.SERVER, Victim.BOTH, Victim.RECOVERY)


class Scene:
    """A portal at an address that stays, a home that is mounted again and again, writers in it."""

    def __init__(self, folder: Path, place: Home, chance: Random, *, historical: bool) -> None:
        self.place = place
        self.chance = chance
        self.kills: Counter[Victim] = Counter()
        self.writers = [Writer(f"writer {number}", folder, chance.getrandbits(32)) for number in range(WRITERS)]
        self._folder = folder
        self._options = ("--historical",) if historical else ()
        self._attributes = not historical
        self._serving = contextlib.ExitStack()
        self.server = self._served()

    def close(self) -> None:
        for writer in self.writers:
            writer.kill()
        self._serving.close()

    def _served(self) -> RunningServer:
        listen = self.server.endpoint if hasattr(self, "server") else None
        return self._serving.enter_context(serving(self._folder, options=self._options, listen=listen))

    def kill_server(self) -> None:
        self.server.process.kill()
        self._serving.close()

    def serve_again(self) -> None:
        self.server = self._served()

    def arguments(self, place: Home) -> list[str]:
        secret = place.folder / "secret"
        secret.write_text(PASSWORD)
        return ["-o", f"user={self.server.user},password_command=cat {secret},{OPTIONS}", self.server.url]

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Process]:
        """Again, with what the last one left; ended by whoever is inside."""
        argv = [sys.executable, "-m", "bitcasafs.cli.mount", "--foreground"]
        argv += [*self.arguments(self.place), str(self.place.mountpoint)]

        def lives(_: Process) -> bool:
            """What a killed mount has left is in the mount table as well, and answers stat from what it knew."""
            with contextlib.suppress(OSError):
                return os.path.ismount(self.place.mountpoint) and bool(os.statvfs(self.place.mountpoint))
            return False

        try:
            with running(argv, ready=lives, environment=self.place.environment) as process:
                try:
                    yield process
                except BaseException as error:
                    error.add_note(f"the mount said:\n{process.output()[-5000:]}")
                    raise
        except NotReady as error:
            raise AssertionError("the mount did not come back") from error

    def kill_in_recovery(self) -> None:
        """A mount that dies before, while or soon after it goes on with what it found."""
        argv = [sys.executable, "-m", "bitcasafs.cli.mount", "--foreground"]
        argv += [*self.arguments(self.place), str(self.place.mountpoint)]
        mount = subprocess.Popen(
            argv, cwd=ROOT, env=self.place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(self.chance.uniform(0.3, 2.0))
        mount.kill()
        mount.wait()

    # --- one act ------------------------------------------------------------------------------------------------------

    def act(self) -> None:
        """Mount, compare, write until something is killed."""
        victim = self.chance.choice(VICTIMS)
        if victim is Victim.RECOVERY:
            self.kill_in_recovery()
        else:
            with self.mounted() as mount:
                for writer in self.writers:
                    writer.check(self.place.mountpoint)
                    writer.begin(self.place.mountpoint)
                self._let_them_write(mount, victim)
        self.kills[victim] += 1

    def _let_them_write(self, mount: Process, victim: Victim) -> None:
        # The moment of death is chance: nothing is waited for.
        time.sleep(self.chance.uniform(0.1, 1.5))
        if victim is Victim.SERVER:
            self.kill_server()
            time.sleep(self.chance.uniform(0.0, 1.0))
            self.serve_again()
            time.sleep(self.chance.uniform(0.0, 1.5))
        elif victim is Victim.BOTH:
            self.kill_server()
            time.sleep(self.chance.uniform(0.0, 0.2))
        killed = victim is not Victim.SERVER or self.chance.random() < 0.5
        if killed:
            mount.kill()
        if victim is Victim.BOTH:
            self.serve_again()
        for writer in self.writers:
            writer.end(killed=killed)

    # --- the end ------------------------------------------------------------------------------------------------------

    def finish(self, other: Home) -> None:
        """Everything is sent; a mount that knows nothing sees what was promised, and the portal holds nothing else."""
        with self.mounted():
            for writer in self.writers:
                writer.check(self.place.mountpoint)
            umount(self.place)
        assert [path.name for path in self.place.state.glob("accounts/*/staged/*")] == []
        other.mount(*self.arguments(other))
        for writer in self.writers:
            writer.check_elsewhere(other.mountpoint, attributes=self._attributes)
        umount(other)
        with Drive.of(self.server) as drive:
            assert sorted(drive.rows()) == sorted(writer.name for writer in self.writers)
            for writer in self.writers:
                assert sorted(drive.paths(writer.name)) == sorted(writer.tree)

    def told(self) -> str:
        kills = ", ".join(f"{victim.value} {count}" for victim, count in sorted(self.kills.items(), key=str))
        return f"{self.kills.total()} kills ({kills}), {sum(writer.deeds for writer in self.writers)} deeds told"


@pytest.fixture(params=[False, True], ids=["extended", "historical"])
def historical(request: pytest.FixtureRequest) -> bool:
    chosen: bool = request.param
    return chosen


@contextlib.contextmanager
def scene(folder: Path, place: Home, *, historical: bool) -> Iterator[Scene]:
    seed = int(os.environ.get("BITCASAFS_CRASH_SEED") or secrets.randbits(32))
    made = Scene(folder, place, Random(seed), historical=historical)
    try:
        with made.mounted():
            for writer in made.writers:
                (place.mountpoint / writer.name).mkdir()
            umount(place)
        yield made
    except BaseException as error:
        error.add_note(f"BITCASAFS_CRASH_SEED={seed}, {made.told()}")
        raise
    finally:
        made.close()


# One run in ten still fails on an extended portal, more on a historical one (docs/semantics.md, known limits): by hand
# until none does.
@pytest.mark.long
@pytest.mark.timeout(300)
def test_mounts_and_servers_killed_for_a_while_keep_their_promises(
    tmp_path: Path, place: Home, other: Home, *, historical: bool
) -> None:
    with scene(tmp_path, place, historical=historical) as played:
        until = time.monotonic() + SLOW_SECONDS
        while time.monotonic() < until:
            played.act()
        played.finish(other)


@pytest.mark.long
@pytest.mark.timeout(8 * 3600)
def test_mounts_and_servers_killed_hundreds_of_times_keep_their_promises(
    tmp_path: Path, place: Home, other: Home, capsys: pytest.CaptureFixture[str], *, historical: bool
) -> None:
    with scene(tmp_path, place, historical=historical) as played:
        while played.kills.total() < LONG_KILLS:
            played.act()
            if played.kills.total() % 20 == 0:
                with capsys.disabled():
                    sys.stdout.write(f"{played.told()}\n")
        played.finish(other)
        with capsys.disabled():
            sys.stdout.write(f"the end: {played.told()}\n")
