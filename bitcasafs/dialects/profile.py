"""Who is logged in and how full the drive is: `GET /profile` (portal protocol 1.3, extension `quota`)."""

from __future__ import annotations

from typing import Any

from bitcasafs.dialects.fields import optional_integer, parse_object, text
from bitcasafs.values.items import Profile

PATH = "/profile"
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


def encode_profile(
    profile: Profile, *, created_at_ms: int = 0, plan_type: str = "self-hosted", extensions: bool
) -> dict[str, Any]:
    """The JSON object. With extensions also the exact numbers under their own names."""
    fields: dict[str, Any] = {
        "first_name": profile.first_name,
        "last_name": profile.last_name,
        "email": profile.email,
        "plan_type": plan_type,
        "quota": profile.quota_bytes,
        "storage_used": profile.used_bytes,
        "usage_str": usage(profile.used_bytes),
        "days_left": None,
        "created_at": created_at_ms,
        "state": "active",
        "state_id": 0,
        "button1": None,
        "button1_url": None,
    }
    if extensions:
        fields |= {"quota_bytes": profile.quota_bytes, "used_bytes": profile.used_bytes, "files": profile.files}
    return fields


def decode_profile(body: bytes) -> Profile:
    """The exact numbers where they are, else part 1's. ProtocolError."""
    fields = parse_object(body, "profile")
    quota = "quota_bytes" if "quota_bytes" in fields else "quota"
    used = "used_bytes" if "used_bytes" in fields else "storage_used"
    return Profile(
        email=text(fields, "email", "profile", ""),
        first_name=text(fields, "first_name", "profile", ""),
        last_name=text(fields, "last_name", "profile", ""),
        quota_bytes=optional_integer(fields, quota, "profile", minimum=0),
        used_bytes=optional_integer(fields, used, "profile", minimum=0) or 0,
        files=optional_integer(fields, "files", "profile", minimum=0),
    )


def usage(used_bytes: int) -> str:
    """For a person: `1.5 GB`, in steps of 1,000."""
    amount, unit = float(used_bytes), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{used_bytes} bytes" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"
