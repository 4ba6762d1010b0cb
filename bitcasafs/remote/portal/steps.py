"""The single steps that part 1 knows, each ending with certainty where that is possible: a lost answer is followed by
a look at the folder.

Who uses: `historical` and `replacing`, which build every change out of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bitcasafs.dialects.forms import (
    Rename,
    Selection,
    decode_done,
    decode_folder_answer,
    encode_delete,
    encode_rename,
)
from bitcasafs.dialects.media import category_of, extension_of, mime_of
from bitcasafs.dialects.messages import FORM_TYPE
from bitcasafs.dialects.refusals import decode_error
from bitcasafs.errors import (
    BitcasaError,
    Exists,
    Malformed,
    NotFound,
    ProtocolError,
    Unavailable,
)
from bitcasafs.remote.interface import Source
from bitcasafs.remote.portal import targets
from bitcasafs.remote.portal.reads import Reads
from bitcasafs.remote.portal.session import Session
from bitcasafs.remote.portal.transport import Body
from bitcasafs.remote.portal.uploads import Progress, upload
from bitcasafs.values.items import Address, Item

Doubt = Callable[[], None]


def no_doubt() -> None:
    """For steps that do no harm when they are found done."""


class Steps:
    """Every method's Unavailable says in `applied` what is known of that one step.

    `doubt` is called when a step was sent and its answer is missing, before anybody looks: also where the look then
    finds no trace, since a slow portal may still do it.
    """

    def __init__(self, session: Session, reads: Reads) -> None:
        self._session = session
        self._reads = reads

    def portal_ms(self) -> float:
        """The portal's clock, in the unit of `Item.mtime_ms`."""
        return self._session.portal_seconds() * 1000

    async def entries(self, folder: Address) -> dict[str, Item]:
        """All items of a folder by name. A look changes nothing: Unavailable has `applied` False."""
        try:
            return await self._reads.entries(folder)
        except Unavailable as error:
            error.applied = False
            raise

    async def find(self, path: str) -> Item:
        """The item at a path, out of its folder's listing. NotFound."""
        folder, name = split_parent(path)
        item = (await self.entries(folder)).get(name)
        if item is None:
            raise NotFound(f"no item at {path}")
        return item

    async def make_folder(self, parent: Address, name: str, doubt: Doubt) -> tuple[Item, bool]:
        """The folder, and whether it was made now. Exists: a file has the name.

        A lost answer and a folder that is there count as made: whoever made it, it is one folder.
        """
        try:
            answer = await self._session.call("POST", targets.new_folder(parent, name))
            if answer.status not in (200, 201):
                raise decode_error(answer.status, answer.body, answer.headers)
            made = decode_folder_answer(answer.body)
            return self._reads.completed(made.item), made.created
        except (Unavailable, Malformed, ProtocolError) as error:
            present = (await self._look(error, parent, doubt)).get(name)
            if present is not None and not present.is_folder:
                raise Exists(f"{present.path} is a file") from error
            if present is not None and not isinstance(error, Malformed):
                return present, True
            raise

    async def upload(self, parent: Address, name: str, source: Source, progress: Progress | None) -> Item:
        """The item that the portal made, whose name may be another. A lost answer is not settled here."""
        try:
            return self._reads.completed(await upload(self._session, parent, name, source, progress=progress))
        except Malformed:
            await self.entries(parent)  # NotFound and NotFolder say more than a status that nobody knows.
            raise

    async def delete(self, path: str, doubt: Doubt) -> None:
        """Remove an item, with all its contents. NotFound."""
        body, headers = encode_delete(Selection((path,)))
        folder, name = split_parent(path)
        try:
            await self._form(targets.DELETE, body, headers)
        except (Unavailable, Malformed, ProtocolError) as error:
            if name in await self._look(error, folder, doubt):
                raise
            if isinstance(error, Malformed):
                raise NotFound(f"no item at {path}") from error

    async def rename(self, item: Item, parent: Address, name: str, doubt: Doubt) -> Item:
        """Give an item another folder and name. NotFound, Exists."""
        destination = parent.child(name).path
        body, headers = encode_rename(Rename(item.path, destination))
        try:
            await self._form(targets.RENAME, body, headers)
        except (Unavailable, Malformed, ProtocolError) as error:
            folder, old_name = split_parent(item.path)
            there = await self._look(error, parent, doubt)
            left = old_name in (there if folder.path == parent.path else await self._look_again(error, folder))
            if left and name in there:
                raise Exists(f"{destination} exists") from error
            if left:
                raise
            if name not in there or isinstance(error, Malformed):
                raise NotFound(f"no item at {item.path}") from error
        item = replace(item, name=name, path=destination)
        if item.is_folder:
            return item
        return replace(item, extension=extension_of(name), mime=mime_of(name), category=category_of(name))

    async def _form(self, target: str, body: bytes, headers: dict[str, str]) -> None:
        answer = await self._session.call(
            "POST", target, headers={"Content-Type": FORM_TYPE, **headers}, body=Body.of(body)
        )
        if answer.status != 200:
            raise decode_error(answer.status, answer.body, answer.headers)
        decode_done(answer.body)

    async def _look(self, error: BitcasaError, folder: Address, doubt: Doubt) -> dict[str, Item]:
        """What is in the folder after a step failed with `error`.

        Raises `error` itself when there is nothing to settle (it surely was not applied), or when nobody can look:
        then the outcome stays unknown. Where this returns, a step that left no trace was not applied, and `error`
        says so.
        """
        if isinstance(error, Unavailable) and error.applied is False:
            raise error
        if not isinstance(error, Malformed):
            doubt()
        return await self._look_again(error, folder)

    async def _look_again(self, error: BitcasaError, folder: Address) -> dict[str, Item]:
        if isinstance(error, Unavailable):
            error.applied = None
        try:
            entries = await self.entries(folder)
        except Unavailable:
            raise error from None
        if isinstance(error, Unavailable):
            error.applied = False
        return entries


def split_parent(path: str) -> tuple[Address, str]:
    """Folder and name of a path; the folder of a root is `/`."""
    parent, _, name = path.rpartition("/")
    return Address(parent or "/"), name
