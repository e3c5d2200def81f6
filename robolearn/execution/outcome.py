"""What became of an episode, in one of four words: success, failure, aborted, unjudged.

It is aborted where something else than the policy kept it from being judged (a server that was gone, a device that
failed), and unjudged where nothing and nobody measured its outcome. Neither is a failure.
"""

from __future__ import annotations

SUCCESS, FAILURE, ABORTED, UNJUDGED = "success", "failure", "aborted", "unjudged"


def outcome_word(success: bool | None, cause: str | None = None) -> str:
    """The word for an episode that was aborted for `cause`, or None, and is a success, a failure or neither (None)."""
    if cause is not None:
        return ABORTED
    return UNJUDGED if success is None else SUCCESS if success else FAILURE
