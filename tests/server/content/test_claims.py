"""What is claimed is not removed, whatever the metadata says of it in that moment."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bitcasafs.server.content.claims import Claims

ONE, TWO, THREE = b"1" * 32, b"2" * 32, b"3" * 32


def everything(digests: Sequence[bytes]) -> set[bytes]:
    return set(digests)


def test_only_what_nobody_claims_and_no_row_names_is_removed() -> None:
    claims = Claims()
    removed: list[bytes] = []
    with claims.hold([ONE]), claims.hold([ONE, TWO]):
        assert claims.remove([ONE, TWO, THREE], everything, removed.append) == {THREE}
    assert removed == [THREE]
    assert claims.remove([ONE, TWO], lambda digests: {ONE}, removed.append) == {ONE}
    assert removed == [THREE, ONE]


def test_two_claims_of_one_content_are_counted_and_given_back_after_an_error() -> None:
    claims = Claims()
    removed: list[bytes] = []
    with claims.hold([ONE]):
        with pytest.raises(RuntimeError), claims.hold([ONE]):
            raise RuntimeError
        assert claims.remove([ONE], everything, removed.append) == set()
    assert claims.remove([ONE], everything, removed.append) == {ONE}
