"""What a name tells of a content: extension, MIME type and the portal's category (portal protocol 1.4)."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping

from bitcasafs.dialects.names import split_extension

UNKNOWN_MIME = "application/octet-stream"

# Python's own table and not the machine's: the same name must get the same type on every server.
_BUILT_IN = mimetypes.MimeTypes(filenames=()).types_map[True]
_OURS: Mapping[str, str] = {
    ".7z": "application/x-7z-compressed",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".m4a": "audio/mp4",
    ".m4v": "video/mp4",
    ".md": "text/markdown",
    ".mkv": "video/x-matroska",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ogg": "audio/ogg",
    ".opus": "audio/opus",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rtf": "application/rtf",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xz": "application/x-xz",
}
_CATEGORY_BY_KIND: Mapping[str, str] = {"image": "photos", "audio": "music", "video": "videos", "text": "documents"}
_DOCUMENTS = frozenset(
    mime
    for extension, mime in {**_BUILT_IN, **_OURS}.items()
    if extension in (".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".odt", ".ods", ".odp", ".rtf", ".epub")
)


def extension_of(name: str) -> str:
    """In lower case, without the dot; empty when there is none. Never null on the wire."""
    return split_extension(name)[1][1:].lower()


def mime_of(name: str) -> str:
    """By the extension alone."""
    extension = "." + extension_of(name)
    return _OURS.get(extension) or _BUILT_IN.get(extension, UNKNOWN_MIME)


def category_of(name: str, mime: str | None = None) -> str:
    """documents, photos, music, videos or other: of a file; folders are `folders`."""
    kind = mime or mime_of(name)
    if kind in _DOCUMENTS:
        return "documents"
    return _CATEGORY_BY_KIND.get(kind.partition("/")[0], "other")
