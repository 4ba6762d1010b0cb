"""Lists the benchmarks, or runs one: `python -m tests.bench [NAME [ARGUMENTS]]`."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent


def titles() -> dict[str, str]:
    """Names and first lines of all benchmarks, without importing them."""
    found = {}
    for path in sorted(HERE.glob("[!_]*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = docstring.partition("\n")[0]
    return found


def main(argv: list[str]) -> int:
    known = titles()
    if not argv:
        for name, title in known.items():
            print(f"{name:12} {title}")
        return 0
    name, *arguments = argv
    if name not in known:
        print(f"There is no benchmark {name!r}. Known: {', '.join(known)}", file=sys.stderr)
        return 2
    result = importlib.import_module(f"tests.bench.{name}").main(arguments)
    assert isinstance(result, int), f"tests.bench.{name}.main answers an exit code"
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
