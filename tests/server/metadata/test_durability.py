"""What was told is there after kill -9; what was not is there whole or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from bitcasafs.server.metadata import Metadata
from tests.support.metadata import HandClock, Scene
from tests.support.metadata_history import history, replayed

WRITER = """
import sys
from pathlib import Path
from bitcasafs.values.operations import Mkdir, Made, Put
from tests.support.metadata import HandClock, open_scene
scene = open_scene(Path(sys.argv[1]), HandClock())
for turn in range(100_000):
    told = scene.apply(Mkdir(scene.root, f"{turn}"), (Put(Made(0), "x", 1), b"x"))
    print(turn, flush=True)
"""


def test_what_was_told_is_there_after_a_kill(tmp_path: Path) -> None:
    for turn in range(3):
        folder = tmp_path / f"{turn}"
        folder.mkdir()
        command = [sys.executable, "-c", WRITER, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as writer:
            assert writer.stdout is not None
            told = [int(writer.stdout.readline()) for _ in range(20 + 7 * turn)][-1]
            writer.send_signal(signal.SIGKILL)
            told = max([told, *(int(line) for line in writer.stdout)])
        metadata = Metadata.open(f"sqlite:///{folder}/metadata.db", clock=HandClock())
        scene = Scene(metadata, HandClock(), 1, {})
        names = set(scene.names())
        assert {f"{n}" for n in range(told + 1)} <= names
        assert len(names) <= told + 2
        assert all(scene.names(name) == ["x"] for name in names)
        assert metadata.profile(1).files == len(names)
        assert len(replayed(scene)) == 2 * len(names) == len(history(scene))
        metadata.close()
