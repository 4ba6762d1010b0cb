"""The map of a content's blocks: which of them are on the disk, and their checksums. Format only, no I/O.

A header that names the content, then one record a block in the order in which they were stored. Every part carries its
own checksum, seeded with the header's, so that a map that is torn, damaged or of another content claims nothing. All
numbers are little-endian. The later of two records of one block counts.
"""

from __future__ import annotations

import hashlib
import struct
from zlib import crc32

from bitcasafs.remote.interface import ContentRef

BLOCK_BYTES = 128 << 10
"""What the kernel asks for at a time, so that a sequential read of a kept content is one pread."""

_MAGIC = b"bcBLOCK1"
_HEADER = struct.Struct("<8s32sQI")
"""Magic, key, size of the content in bytes, crc32 of these."""
_RECORD = struct.Struct("<IIII")
"""Index, length, crc32 of the block; crc32 of these."""

HEADER_BYTES, RECORD_BYTES = _HEADER.size, _RECORD.size


def content_key(content: ContentRef) -> bytes:
    """32 bytes that no two contents share. A version's `id` leads to one content for ever; its size is part of the key
    so that a portal that breaks this with another size is caught too."""
    return hashlib.sha256(f"{content.size_bytes} {content.id}".encode()).digest()


def block_length(index: int, size_bytes: int) -> int:
    """Bytes of block `index` of a content: less than BLOCK_BYTES only for the last; 0 or less past the end."""
    return min(BLOCK_BYTES, size_bytes - index * BLOCK_BYTES)


def encode_header(key: bytes, size_bytes: int) -> bytes:
    body = _HEADER.pack(_MAGIC, key, size_bytes, 0)[:-4]
    return body + crc32(body).to_bytes(4, "little")


def encode_record(header: bytes, index: int, length: int, checksum: int) -> bytes:
    body = _RECORD.pack(index, length, checksum, 0)[:-4]
    return body + crc32(body, _seed(header)).to_bytes(4, "little")


def decode_map(data: bytes, key: bytes, size_bytes: int) -> dict[int, int] | None:
    """Checksum by index of block; None when the header is not that of this content. Damaged records are left out."""
    header = encode_header(key, size_bytes)
    if data[:HEADER_BYTES] != header:
        return None
    seed = _seed(header)
    whole = HEADER_BYTES + (len(data) - HEADER_BYTES) // RECORD_BYTES * RECORD_BYTES
    checksums: dict[int, int] = {}
    for offset in range(HEADER_BYTES, whole, RECORD_BYTES):
        index, length, checksum, check = _RECORD.unpack_from(data, offset)
        if check == crc32(data[offset : offset + RECORD_BYTES - 4], seed) and length == block_length(index, size_bytes):
            checksums[index] = checksum
    return checksums


def end_of_records(map_bytes: int) -> int:
    """Where the next record goes in a map of that length: over a torn one, if the last is torn."""
    return HEADER_BYTES + max(0, map_bytes - HEADER_BYTES) // RECORD_BYTES * RECORD_BYTES


def _seed(header: bytes) -> int:
    """The header's checksum. Not that of the whole header: a crc32 over data and its own crc32 is always the same."""
    return int.from_bytes(header[-4:], "little")
