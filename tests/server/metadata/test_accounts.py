"""Users, sessions and failed logins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.errors import Exists, NameInvalid, NotFound
from bitcasafs.server.metadata import throttle
from bitcasafs.server.metadata.accounts import SEEN_SECONDS
from bitcasafs.server.metadata.schema import sessions
from bitcasafs.values.items import Profile
from tests.support.metadata import Scene

ONE, TWO = b"1" * 32, b"2" * 32
DAY = 86_400.0


def test_a_user_is_found_by_name(scene: Scene) -> None:
    number = scene.metadata.add_user("bert", "hash", email="b@example.org", first_name="B", quota_bytes=5)
    user = scene.metadata.user("bert")
    assert user is not None
    assert (user.id, user.password_hash, user.email, user.quota_bytes) == (number, "hash", "b@example.org", 5)
    assert scene.metadata.user("Bert") is None
    assert scene.metadata.profile(number) == Profile("b@example.org", "B", "", 5, 0, 0)


def test_a_name_is_taken_once(scene: Scene) -> None:
    with pytest.raises(Exists):
        scene.metadata.add_user("anna", "other")


@pytest.mark.parametrize("name", ["", " anna", "a/b", "a\nb", "a\0", "x" * 300])
def test_a_name_that_cannot_be_typed_is_refused(scene: Scene, name: str) -> None:
    with pytest.raises(NameInvalid):
        scene.metadata.add_user(name, "hash")


def test_a_user_who_is_not_there_has_nothing(scene: Scene) -> None:
    for call in (scene.metadata.profile, scene.metadata.roots, scene.metadata.drive_path):
        with pytest.raises(NotFound):
            call(99)
    with pytest.raises(NotFound):
        scene.metadata.set_password_hash(99, "x")


def test_a_new_password_may_end_all_sessions(scene: Scene) -> None:
    for token in (ONE, TWO):
        scene.metadata.open_session(token, scene.user, "csrf", lifetime_seconds=DAY)
    scene.metadata.set_password_hash(scene.user, "new")
    assert scene.metadata.session(ONE) is not None
    scene.metadata.set_password_hash(scene.user, "newer", end_sessions=True)
    assert scene.metadata.session(ONE) is None
    assert scene.metadata.session(TWO) is None
    user = scene.metadata.user("anna")
    assert user is not None
    assert user.password_hash == "newer"


# --- sessions -----------------------------------------------------------------------------------------------------


def test_a_session_is_found_by_its_hash_until_it_expires(scene: Scene) -> None:
    scene.metadata.open_session(ONE, scene.user, "csrf", lifetime_seconds=DAY)
    found = scene.metadata.session(ONE)
    assert found is not None
    assert (found.user, found.user_name, found.csrf) == (scene.user, "anna", "csrf")
    assert scene.metadata.session(TWO) is None
    scene.clock.advance(DAY)
    assert scene.metadata.session(ONE) is None


def test_a_session_before_login_has_no_user(scene: Scene) -> None:
    scene.metadata.open_session(ONE, None, "csrf", lifetime_seconds=60)
    found = scene.metadata.session(ONE)
    assert found is not None
    assert (found.user, found.user_name) == (None, None)


def test_a_login_rotates_the_session(scene: Scene) -> None:
    scene.metadata.open_session(ONE, None, "before", lifetime_seconds=60)
    scene.metadata.rotate_session(ONE, TWO, scene.user, "after", lifetime_seconds=DAY)
    assert scene.metadata.session(ONE) is None
    found = scene.metadata.session(TWO)
    assert found is not None
    assert (found.user, found.csrf) == (scene.user, "after")


def test_a_session_can_be_kept_under_its_token(scene: Scene) -> None:
    scene.metadata.open_session(ONE, None, "before", lifetime_seconds=60)
    scene.metadata.rotate_session(ONE, ONE, scene.user, "after", lifetime_seconds=DAY)
    found = scene.metadata.session(ONE)
    assert found is not None
    assert found.user == scene.user


def test_a_login_needs_no_session_before_it(scene: Scene) -> None:
    scene.metadata.rotate_session(ONE, TWO, scene.user, "after", lifetime_seconds=DAY)
    scene.metadata.rotate_session(None, ONE, scene.user, "after", lifetime_seconds=DAY)
    assert scene.metadata.session(ONE) is not None


def test_an_ended_session_is_gone(scene: Scene) -> None:
    scene.metadata.open_session(ONE, scene.user, "csrf", lifetime_seconds=DAY)
    scene.metadata.end_session(ONE)
    scene.metadata.end_session(ONE)
    assert scene.metadata.session(ONE) is None


def test_a_session_in_use_is_written_down_now_and_then(scene: Scene) -> None:
    scene.metadata.open_session(ONE, scene.user, "csrf", lifetime_seconds=DAY)

    def seen_ns() -> int:
        with scene.metadata.database.reading() as connection:
            return int(connection.execute(sessions.select()).one().seen_ns)

    first = seen_ns()
    scene.metadata.session(ONE)
    assert seen_ns() == first
    scene.clock.advance(SEEN_SECONDS + 1)
    scene.metadata.session(ONE)
    assert seen_ns() > first


# --- failed logins ------------------------------------------------------------------------------------------------


def test_a_name_waits_after_too_many_failures_and_not_after_a_while(scene: Scene) -> None:
    for turn in range(throttle.NAME_FREE):
        assert scene.metadata.login_delay("anna", f"10.0.0.{turn}") == 0
        scene.metadata.record_failed_login("anna", f"10.0.0.{turn}")
    delay = scene.metadata.login_delay("anna", "10.1.1.1")
    assert 0 < delay <= 1
    assert scene.metadata.login_delay("bert", "10.1.1.1") == 0
    scene.clock.advance(delay)
    assert scene.metadata.login_delay("anna", "10.1.1.1") == 0


def test_a_right_password_clears_the_name_and_not_the_address(scene: Scene) -> None:
    for _ in range(throttle.ADDRESS_FREE + 6):
        scene.metadata.record_failed_login("anna", "10.0.0.1")
    assert scene.metadata.login_delay("anna", "10.1.1.1") > 0
    scene.metadata.record_login("anna")
    assert scene.metadata.login_delay("anna", "10.1.1.1") == 0
    assert scene.metadata.login_delay("bert", "10.0.0.1") > 0


def test_whatever_is_typed_as_a_name_can_be_counted(scene: Scene) -> None:
    for name in ("", "\0", "\ud800", "x" * 10_000, "' OR 1=1 --"):
        for _ in range(throttle.NAME_FREE + 1):
            scene.metadata.record_failed_login(name, "10.0.0.1")
        assert scene.metadata.login_delay(name, "10.1.1.1") > 0


ages = st.lists(st.floats(0, 2 * throttle.WINDOW_SECONDS), max_size=80)


@given(ages, ages)
def test_a_delay_is_bounded_and_old_failures_do_not_count(name: list[float], address: list[float]) -> None:
    delay = throttle.login_delay(name, address)
    assert 0 <= delay <= throttle.ADDRESS_LONGEST_SECONDS
    young = [age for age in name if age < throttle.WINDOW_SECONDS]
    assert throttle.login_delay(young, []) == throttle.login_delay(name, [])
    assert throttle.login_delay(name, []) <= throttle.NAME_LONGEST_SECONDS


@given(ages, st.floats(0, throttle.WINDOW_SECONDS))
def test_one_more_failure_never_shortens_the_delay(name: list[float], age: float) -> None:
    assert throttle.login_delay([*name, age], []) >= throttle.login_delay(name, [])


def test_delays_double() -> None:
    delays = [throttle.login_delay([0.0] * count, []) for count in range(4, 13)]
    assert delays == [0, 1, 2, 4, 8, 16, 30, 30, 30]
