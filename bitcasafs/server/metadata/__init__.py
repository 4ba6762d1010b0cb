"""Accounts, drives and their history in one SQL database; content is elsewhere, known here by digest."""

from bitcasafs.server.metadata.store import Metadata

__all__ = ["Metadata"]
