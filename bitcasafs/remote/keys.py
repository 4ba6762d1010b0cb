"""Idempotency keys: every change carries one from the start, and keeps it over all its repeats (protocol 2.3)."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TypeVar

from bitcasafs.values.items import IdempotencyKey
from bitcasafs.values.operations import Operation

AnyOperation = TypeVar("AnyOperation", bound=Operation)


def new_key() -> IdempotencyKey:
    """32 hex digits of chance: unique without asking anybody."""
    return IdempotencyKey(secrets.token_hex(16))


def with_key(operation: AnyOperation) -> AnyOperation:
    """The operation itself when it has a key, else the same with a new one."""
    return operation if operation.key is not None else replace(operation, key=new_key())
