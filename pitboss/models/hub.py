"""Telling quickly whether files of the model hub can be had at all.

Without network the hub client tries each file for about a minute before it gives up. One short
request beforehand turns that into an answer.
"""

import urllib.error
import urllib.request
from pathlib import Path

from huggingface_hub import constants

from pitboss.errors import BadInput

_TIMEOUT_S = 10


def require_reachable(repo: str, *, what: str, next: str) -> None:
    """Returns if the repository is in the local cache or the hub answers.

    Args:
        repo: Hub id, `owner/name`.
        what: What is being loaded, for the message.
        next: What the user can do.

    Raises:
        BadInput: neither.
    """
    if _cached(repo):
        return
    reason = "HF_HUB_OFFLINE is set"
    if not constants.is_offline_mode():
        try:
            url = f"{constants.ENDPOINT}/api/models/{repo}"
            urllib.request.urlopen(url, timeout=_TIMEOUT_S).close()
            return
        except urllib.error.HTTPError:
            return  # it answers; a refusal is explained by the loader, which sends the token
        except OSError as error:
            reason = f"{constants.ENDPOINT} does not answer: {error}"
    raise BadInput(
        f"{what} is not on this machine and cannot be downloaded ({reason}).",
        where=f"{repo}, cache {constants.HF_HUB_CACHE}",
        next=next,
    )


def _cached(repo: str) -> bool:
    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "snapshots"
    return snapshots.is_dir() and any(snapshots.iterdir())
