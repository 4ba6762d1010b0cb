"""Many readers at once, in a process of their own: `python -m tests.support.crowd FOLDER PARTS`.

Every file of the folder is read by `PARTS` threads, each with a descriptor and a part of its own. Says `reading` when
all are open, and last, as JSON, the digest of each file (or the errno that a reader got).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

PIECE_BYTES = 131_072


def _part(descriptor: int, start: int, stop: int) -> Iterator[bytes]:
    """As `cat` reads."""
    os.lseek(descriptor, start, os.SEEK_SET)
    while start < stop:
        data = os.read(descriptor, min(PIECE_BYTES, stop - start))
        start += len(data)
        yield data


def main(folder: Path, parts: int) -> None:
    paths = sorted(folder.iterdir())
    opened = threading.Barrier(len(paths) * parts + 1)
    found: dict[tuple[Path, int], bytes] = {}
    errors: dict[str, str] = {}

    def read(path: Path, part: int) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        size_bytes = os.fstat(descriptor).st_size
        opened.wait()
        try:
            start, stop = size_bytes * part // parts, size_bytes * (part + 1) // parts
            found[path, part] = b"".join(_part(descriptor, start, stop))
        except OSError as error:
            errors[path.name] = f"errno {error.errno}"
        finally:
            os.close(descriptor)

    threads = [threading.Thread(target=read, args=(path, part)) for path in paths for part in range(parts)]
    for thread in threads:
        thread.start()
    opened.wait()
    sys.stdout.write("reading\n")
    sys.stdout.flush()
    for thread in threads:
        thread.join()
    digests = {
        path.name: hashlib.sha256(b"".join(found.get((path, part), b"") for part in range(parts))).hexdigest()
        for path in paths
    }
    sys.stdout.write(json.dumps(digests | errors) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
