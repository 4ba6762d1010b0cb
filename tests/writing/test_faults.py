"""Random writes over a portal that is away, loses answers and is slow, with kills in between: what was closed is there
in the end, byte for byte, once, and never as a conflict with ourselves.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bitcasafs.errors import Busy, TimedOut, Unavailable, Unreachable
from tests.support.machine import Machine, machine
from tests.support.scripted import Lost, ScriptedRemote, Step

PATHS = st.sampled_from(["a", "b"])
DATA = st.binary(max_size=40)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PATHS, DATA),
        st.tuples(st.just("patch"), PATHS, st.integers(0, 60), DATA),
        st.tuples(st.just("append"), PATHS, DATA),
        st.tuples(st.just("truncate"), PATHS, st.integers(0, 60)),
        st.tuples(st.just("rename"), PATHS, PATHS),
        st.tuples(st.just("unlink"), PATHS),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 1, 3, 40])),
        st.tuples(st.just("settle")),
        st.tuples(st.just("kill")),
    ),
    max_size=16,
)


def moods(random: Random, level: float) -> Step:
    """What the portal does with a request, in a mood from 0 (well) to 1."""
    if random.random() > level:
        return None
    troubles: list[Step] = [
        Unreachable("no route", applied=False),
        Busy("later", applied=False, retry_after_seconds=2),
        TimedOut("no answer", applied=None),
        Lost(TimedOut("no answer", applied=None)),
        Lost(TimedOut("no answer", applied=None)),
    ]
    return random.choice(troubles)


async def change(one: Machine, model: dict[str, bytes], step: str, path: str, *arguments: Any) -> None:
    old = model.get(path)
    match [step, *arguments]:
        case "write", data:
            await one.write(f"/{path}", data)
            model[path] = data
        case "patch", offset, data if old is not None:
            await one.write(f"/{path}", data, offset=offset, flags=0)
            if data:
                old = old.ljust(offset, b"\0")
                model[path] = old[:offset] + data + old[offset + len(data) :]
        case "append", data if old is not None:
            await one.write(f"/{path}", data, flags=os.O_APPEND)
            model[path] = old + data
        case "truncate", size if old is not None:
            await one.fs.files.resize(one.fs.nodes[(await one.find(f"/{path}")).number], size)
            model[path] = old[:size].ljust(size, b"\0")


async def change_name(one: Machine, model: dict[str, bytes], path: str, *new: str) -> None:
    """A rename or unlink; when it is not answered, the tree tells whether it was done."""
    after = {other: data for other, data in model.items() if other != path}
    if new:
        after[new[0]] = model[path]
    try:
        if new:
            await one.rename(f"/{path}", f"/{new[0]}")
        else:
            await one.unlink(f"/{path}")
    except Unavailable:
        before = dict(model)
        await one.drained()
        await trio.sleep(5)  # longer than a listing is believed
        found = {name: await one.read(f"/{name}") for name in await one.names()}
        assert found in (before, after)
        after = found
    model.clear()
    model.update(after)


async def play(steps: list[tuple[Any, ...]], random: Random, level: float, folder: Path) -> None:
    remote = ScriptedRemote()
    remote.otherwise = lambda _: moods(random, level)
    remote.send_seconds = 0.5
    model: dict[str, bytes] = {}
    while True:
        async with machine(remote, folder / "one", ttl_seconds=2) as one:
            assert await one.tree() == {f"/{path}": data for path, data in model.items()}
            while steps:
                step, *arguments = steps.pop(0)
                if step == "kill":
                    break
                if step == "wait":
                    await trio.sleep(arguments[0])
                elif step == "settle":
                    with trio.move_on_after(30):
                        await one.drained()
                elif step in ("rename", "unlink"):
                    if arguments[0] in model:
                        await change_name(one, model, *arguments)
                else:
                    await change(one, model, step, *arguments)
                    if arguments[0] in model:
                        assert await one.read(f"/{arguments[0]}") == model[arguments[0]]
            else:
                remote.otherwise = lambda _: None
                await one.drained()
                assert not list(one.fs.problems())
                assert await one.tree() == {f"/{path}": data for path, data in model.items()}
                assert list((folder / "one" / "staged").iterdir()) == []
                break
    async with machine(remote, folder / "two") as two:
        assert await two.tree() == {f"/{path}": data for path, data in model.items()}


@given(STEPS, st.integers(0, 99), st.sampled_from([0.0, 0.3, 0.8]))
@settings(max_examples=100)
def test_what_was_closed_arrives_once_and_whole(steps: list[tuple[Any, ...]], seed: int, level: float) -> None:
    """The portal's moods are drawn from a seed: how tasks take turns differs from run to run."""
    with tempfile.TemporaryDirectory() as folder:
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(play, list(steps), Random(seed), level, Path(folder), clock=clock)
