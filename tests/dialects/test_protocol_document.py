"""docs/protocol.md says what the code does: codes, operations, fields and names in it are those of the dialect."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bitcasafs.dialects.attributes import FIELDS
from bitcasafs.dialects.discovery import decode_discovery
from bitcasafs.dialects.fields import json_bytes
from bitcasafs.dialects.items import encode_item
from bitcasafs.dialects.operations import encode_fields
from bitcasafs.dialects.refusals import TABLE
from bitcasafs.values.items import Address, AttributeChange, Attributes, Item, Kind, NodeId, RootKind, Version
from bitcasafs.values.operations import Delete, Made, Mkdir, Move, Operation, Put, SetAttributes, Symlink

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


def test_the_table_of_errors_is_the_codes_own() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", TEXT, re.MULTILINE)
    written = {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert written == {(status, code) for _, status, code in TABLE}


def test_every_field_of_an_item_and_of_its_attributes_is_explained() -> None:
    every = Attributes(symlink="x")
    file = Item("a", "/x/a", Kind.FILE, version=Version("v"), node=NodeId("n"), parent=NodeId("p"), nlink=2)
    root = Item("a", "/x", Kind.FOLDER, root=RootKind.DRIVE, digests={"md5": "x"}, attributes=every)
    fields = {*encode_item(file, extensions=True), *encode_item(root, extensions=True), *FIELDS, "xattrs"}
    assert {field for field in fields if f"`{field}`" not in TEXT} == set()


def test_every_operation_is_in_the_table_with_its_fields() -> None:
    place, change, version = Address("/x"), AttributeChange({"mode": 0}), Version("v")
    batch = TEXT.partition("## Batch")[2].partition("\n## ")[0]
    operations: list[Operation] = [
        Mkdir(place, "a", attributes=change),
        Put(place, "a", 0, if_match=version, md5="0" * 32, attributes=change),
        Symlink(place, "a", "t", if_match=version, attributes=change),
        SetAttributes(place, change, if_revision=1),
        Move(place, Made(0), "a", if_match=version, if_match_target=version),
        Delete(place, if_match=version, recursive=True),
    ]
    for operation in operations:
        fields = encode_fields(operation)
        row = re.search(rf"^\| `{fields.pop('op')}` \|(.*)\|.*\|$", batch, re.MULTILINE)
        assert row is not None
        assert set(re.findall(r"`(\w+)`", row[1])) == set(fields)


def test_the_example_of_discovery_is_understood() -> None:
    example = re.search(r"^```json\n(\{\n.*?\n\})\n```$", TEXT, re.MULTILINE | re.DOTALL)
    assert example is not None
    found = decode_discovery(200, "application/json", json_bytes(json.loads(example[1])))
    assert found is not None and found.versions and found.attributes and found.quota
    assert found.batch is not None and found.file_bytes is not None


def test_the_examples_for_curl_are_commands_and_their_output() -> None:
    section = TEXT.partition("## By hand, with curl")[2].partition("\n# ")[0]
    blocks = re.findall(r"^```console\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    assert len(blocks) >= 8
    assert all("curl" in command for command in commands)
