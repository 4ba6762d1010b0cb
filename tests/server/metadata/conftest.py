from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.metadata import HandClock, Scene, open_scene


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def scene(tmp_path: Path, clock: HandClock) -> Iterator[Scene]:
    scene = open_scene(tmp_path, clock)
    yield scene
    scene.metadata.close()
