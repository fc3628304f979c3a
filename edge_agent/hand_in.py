"""A payload that a program hands to this node in pieces, until it is a bundle like any other."""

from dataclasses import dataclass

from edge_agent.core.bundle import BundleId
from edge_agent.core.effects import Staged
from edge_agent.core.errors import RefusalReason, RefusedError
from edge_agent.disk.staging import StagedPart, Staging
from edge_agent.sender import BundleSender, SendTerms


@dataclass(slots=True, kw_only=True)
class HandIn:
    """One payload of ``payload_bytes``; ``close`` must be called."""

    staging: Staging
    sender: BundleSender
    terms: SendTerms
    payload_bytes: int
    staged: StagedPart
    offset: int

    @property
    def bundle(self) -> BundleId | None:
        """What it became before, when the program did not hear of it."""
        return self.staged.bundle

    async def put(self, piece: bytes) -> None:
        """The next bytes; synced on return. Raises RefusedError."""
        if not piece or self.offset + len(piece) > self.payload_bytes:
            what = f"{len(piece)} bytes after {self.offset} of {self.payload_bytes}"
            raise RefusedError(RefusalReason.MALFORMED, what)
        await self.staging.put(self.staged.part, self.payload_bytes, self.offset, piece)
        self.offset += len(piece)

    async def finish(self, digest: bytes) -> BundleId:
        """The accepted bundle; ``digest`` is that of all that the program read. Raises RefusedError."""
        try:
            return await self.sender.submit_as(self.terms, b"", Staged(self.staged.part, self.payload_bytes, digest))
        except RefusedError as error:
            if error.reason is RefusalReason.MALFORMED:  # the file was changed while it was read: nothing to go on with
                await self.staging.drop(self.staged.part)
            raise

    async def forget(self) -> None:
        """The program knows its bundle."""
        await self.staging.forget(self.staged.part)

    def close(self) -> None:
        """The program has gone; it may come again and go on."""
        self.staging.close(self.staged.part)
