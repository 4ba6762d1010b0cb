"""A drive in memory: a real implementation of everything a remote can do, for tests of whoever stands above."""

from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive

__all__ = ["MemoryDrive", "MemoryRemote"]
