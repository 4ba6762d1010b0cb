"""Two mounts and one drive: random steps on both, with kills, an absent portal and lost answers among them. What must
hold is told in `tests.support.two_mounts`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bitcasafs.writing import scheduler
from tests.support.two_mounts import played

THOROUGH = settings().max_examples > 100
QUICK = settings(max_examples=80, derandomize=True)  # what is found next is for whoever looks for it
PROFILE = settings() if THOROUGH else QUICK
FILES = st.sampled_from(["/a", "/b", "/d/a", "/d/b", "/d/e/a", "/e/a", "/e/d/a"])
FOLDERS = st.sampled_from(["/d", "/e", "/d/e", "/e/d"])
PATHS = FILES | FOLDERS

OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["write", "write", "patch", "append", "truncate", "unlink", "chmod"]), FILES),
    st.tuples(st.just("rename"), FILES, FILES),
    st.tuples(st.just("rename"), FOLDERS, FOLDERS),
    st.tuples(st.just("rename"), PATHS, PATHS),
    st.tuples(st.sampled_from(["mkdir", "rmdir", "mkdir"]), FOLDERS),
    st.tuples(st.sampled_from(["write", "mkdir", "unlink", "rmdir"]), PATHS),
)
EXTENDED = st.one_of(
    st.tuples(st.just("exchange"), PATHS, PATHS),
    st.tuples(st.just("symlink"), FILES),
)
HELD = st.one_of(
    st.tuples(st.just("hold"), FILES),
    st.tuples(st.sampled_from(["hold_write", "hold_write", "hold_flush", "hold_fsync", "hold_close"])),
)
OTHERS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.05, 0.15, 0.25, 0.5, 1.2, 3.0, 7.0, 40.0])),
    st.tuples(st.sampled_from(["settle", "kill", "away", "back", "heal"])),
    st.tuples(st.just("losing"), st.integers(1, 3)),
)


def steps(*kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    step = st.builds(lambda side, rest: (side, *rest), st.integers(0, 1), st.one_of(*kinds))
    return st.lists(step, max_size=30)


async def in_line(call: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
    """Threads would make the order of things differ from run to run."""
    await trio.lowlevel.checkpoint()
    return call(*arguments)


def run(listed: list[tuple[Any, ...]], *, historical: bool) -> None:
    async def play() -> None:
        await played(listed, Path(folder), historical=historical)

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(trio.to_thread, "run_sync", in_line),
        mock.patch.object(scheduler, "LOOKING_SECONDS", math.inf),  # of real time
    ):
        trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


@given(steps(OPERATIONS, OPERATIONS, EXTENDED, HELD, OTHERS))
@PROFILE
def test_two_mounts_agree_and_nothing_is_lost(listed: list[tuple[Any, ...]]) -> None:
    run(listed, historical=False)


@given(steps(OPERATIONS, OPERATIONS, HELD, OTHERS))
@PROFILE
def test_two_mounts_of_a_historical_portal_agree_and_nothing_is_lost(listed: list[tuple[Any, ...]]) -> None:
    run(listed, historical=True)


# --- what these found, made small -----------------------------------------------------------------------------------


def test_two_who_replace_a_file_of_a_historical_portal_leave_no_hidden_upload() -> None:
    run([(0, "patch", "/d/a"), (1, "patch", "/d/a")], historical=True)


def test_what_is_written_into_a_file_that_another_machine_changed_can_be_opened_as_a_copy() -> None:
    run([(1, "patch", "/b"), (0, "hold", "/b"), (0, "wait", 40.0), (0, "hold_write")], historical=False)


def test_a_folder_of_a_historical_portal_is_renamed_while_a_file_moves_out_of_it() -> None:
    run([(0, "rename", "/d/a", "/a"), (0, "rename", "/d", "/e/d")], historical=True)


def test_a_refusal_is_looked_at_again_when_a_folder_moves_meanwhile() -> None:
    run(
        [(1, "write", "/d/a"), (0, "away"), (0, "append", "/d/a"), (0, "mkdir", "/e/d"), (0, "rename", "/d", "/e/d/a")],
        historical=False,
    )


def test_a_conflict_after_a_long_absence_of_the_portal_is_no_problem() -> None:
    run([(0, "away"), (0, "write", "/a"), (0, "wait", 3000.0), (1, "write", "/a"), (1, "settle")], historical=False)


def test_of_an_exchange_with_what_another_machine_took_away_the_rest_is_done() -> None:
    run([(0, "rmdir", "/e"), (1, "exchange", "/d", "/e")], historical=False)


def test_a_folder_that_was_to_move_into_one_that_it_replaced_there_is_a_problem() -> None:
    run([(1, "rename", "/d", "/e/d"), (1, "hold", "/d/e/a"), (0, "rename", "/d", "/e")], historical=False)


def test_content_outlives_attributes_of_a_file_that_another_machine_deleted() -> None:
    run([(0, "unlink", "/d/a"), (1, "chmod", "/d/a"), (1, "write", "/d/a")], historical=False)


def test_a_file_that_was_exchanged_before_a_kill_can_be_opened_after_it() -> None:
    run([(0, "exchange", "/d", "/a"), (0, "wait", 0.05), (0, "kill")], historical=False)
    run([(0, "symlink", "/e/a"), (0, "exchange", "/e", "/d/a"), (0, "kill")], historical=False)


def test_a_change_of_a_folder_that_became_another_ends_and_what_is_in_it_goes_on() -> None:
    run([(0, "rename", "/d", "/e"), (1, "rename", "/d", "/e/d"), (1, "symlink", "/e/a")], historical=False)


def test_a_renamed_folder_that_was_deleted_there_is_made_again_for_content_of_its_files() -> None:
    deleting = [(0, "unlink", "/d/a"), (0, "rmdir", "/d"), (0, "settle")]
    for historical in (False, True):
        run([*deleting, (1, "patch", "/d/a"), (1, "rename", "/d", "/e/d")], historical=historical)


def test_what_was_written_to_a_version_of_before_becomes_a_copy_though_nobody_holds_it_any_more() -> None:
    run(
        [(0, "write", "/b"), (1, "hold", "/b"), (0, "wait", 7.0), (1, "hold_write"), (1, "hold_close")], historical=True
    )
