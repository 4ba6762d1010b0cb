"""The conditions of batch operations as the part-1 calls take them: query or form fields, and headers (2.2, 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bitcasafs.dialects.fields import INT64_MAX, INT64_MIN
from bitcasafs.dialects.messages import IDEMPOTENCY_KEY, check_key, header
from bitcasafs.dialects.ranges import parse_etags
from bitcasafs.errors import Malformed
from bitcasafs.values.items import IdempotencyKey, Version
from bitcasafs.values.operations import OnExisting

VERSION_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    """None: the client did not say; each call has its own default, as history has it."""

    exists: OnExisting | None = None
    if_match: Version | None = None
    if_match_target: Version | None = None
    parent_mtime_ns: int | None = None
    recursive: bool | None = None
    md5: str | None = None
    key: IdempotencyKey | None = None


def encode_options(options: ChangeOptions) -> tuple[dict[str, str], dict[str, str]]:
    """Query or form fields, and headers."""
    fields: dict[str, str] = {}
    if options.exists is not None:
        fields["exists"] = options.exists.value
    if options.if_match is not None:
        fields["if_match"] = options.if_match
    if options.if_match_target is not None:
        fields["if_match_target"] = options.if_match_target
    if options.parent_mtime_ns is not None:
        fields["parent_mtime_ns"] = str(options.parent_mtime_ns)
    if options.recursive is not None:
        fields["recursive"] = "true" if options.recursive else "false"
    if options.md5 is not None:
        fields["md5"] = options.md5
    return fields, {} if options.key is None else {IDEMPOTENCY_KEY: options.key}


def parse_options(fields: Mapping[str, str], headers: Mapping[str, str]) -> ChangeOptions:
    """From query and form fields together. Malformed: a condition that is misread would be a change that was not
    asked for, so here nothing is guessed. A field that is present and empty counts as absent."""
    if_match = fields.get("if_match") or _if_match(headers)
    key = fields.get("key") or header(headers, IDEMPOTENCY_KEY)
    return ChangeOptions(
        exists=_exists(fields.get("exists")),
        if_match=_version(if_match),
        if_match_target=_version(fields.get("if_match_target")),
        parent_mtime_ns=_nanoseconds(fields.get("parent_mtime_ns")),
        recursive=_recursive(fields.get("recursive")),
        md5=parse_md5(fields.get("md5")),
        key=None if not key else check_key(key),
    )


def parse_md5(value: str | None) -> str | None:
    """32 hex digits, in lower case. Malformed."""
    if not value:
        return None
    digest = value.strip().lower()
    if len(digest) != 32 or not set(digest) <= set("0123456789abcdef"):
        raise Malformed("md5 is 32 hex digits")
    return digest


def _if_match(headers: Mapping[str, str]) -> str | None:
    value = header(headers, "If-Match")
    if not value:
        return None
    condition = parse_etags(value)
    if condition.anything or len(condition.tags) != 1 or condition.weak:
        raise Malformed("If-Match of a change names one version")
    return next(iter(condition.tags))


def _exists(value: str | None) -> OnExisting | None:
    if not value:
        return None
    try:
        return OnExisting(value.strip().lower())
    except ValueError:
        raise Malformed(f"exists is one of {[choice.value for choice in OnExisting]}") from None


def _version(value: str | None) -> Version | None:
    if not value:
        return None
    if len(value) > VERSION_CHARACTERS:
        raise Malformed(f"a version has at most {VERSION_CHARACTERS} characters")
    return Version(value)


def _nanoseconds(value: str | None) -> int | None:
    if not value:
        return None
    digits = value.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 24):
        raise Malformed("parent_mtime_ns is an integer")
    number = int(value)
    if not INT64_MIN <= number <= INT64_MAX:
        raise Malformed("parent_mtime_ns has 64 bits")
    return number


def _recursive(value: str | None) -> bool | None:
    if not value:
        return None
    if value.strip().lower() not in ("true", "false", "1", "0"):
        raise Malformed("recursive is true or false")
    return value.strip().lower() in ("true", "1")
