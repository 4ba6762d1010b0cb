"""Benchmarks, one a module: `scripts/bench NAME`.

A benchmark has a docstring, whose first line is its title in the list, and `def main(argv: list[str]) -> int`, which
prints its numbers and answers an exit code. Modules whose name begins with `_` are not listed.
"""
