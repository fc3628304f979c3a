"""BRIEF blocks in a draft: whole bundles in short form, the last of them without a length where it ends the frame."""

from edge_agent.core.blocks import BRIEF_ENDS, Fragment
from edge_agent.core.bundle import BundleHeader
from edge_agent.core.draft import Draft


def put_brief(draft: Draft, fragment: Fragment, header: BundleHeader) -> bool:
    """Write a whole bundle as a BRIEF; False when it has to be a FRAGMENT."""
    if draft.profiles is None or fragment.source is not None:
        return False
    written_at = draft.profiles.write(draft.body, draft.uses, fragment, header, draft.room_bytes)
    if written_at is not None:
        draft.brief_at = written_at
    return written_at is not None


def end_frame(draft: Draft, brief_at: int, length_at: int) -> None:
    """The last BRIEF stands at ``brief_at``, its length at ``length_at``: it needs none where nothing follows."""
    body = draft.body
    if length_at + 1 + body[length_at] == len(body):
        body[brief_at] |= BRIEF_ENDS
        del body[length_at]
