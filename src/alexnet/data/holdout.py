"""A validation split for sources that come without one."""

import hashlib

import numpy as np

from alexnet.data.folders import in_validation
from alexnet.data.images import BadImage
from alexnet.data.sources import Split
from alexnet.data.threads import mapped
from alexnet.errors import UserError


def hold_out(everything: Split, fraction: float) -> tuple[Split, Split]:
    """Training and validation split, decided by the contents as for image folders.

    Raises:
        UserError: an image cannot be read, or none can be held out.
    """

    def digest(index: int) -> bytes:
        try:
            content = everything.read(index)
        except BadImage as error:  # it will be listed, on either side
            content = str(error).encode()
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"cannot read {everything.keys[index]}: {reason}") from None
        return hashlib.sha256(content).digest()

    contents = list(mapped(digest, range(len(everything))))
    held_out = in_validation(contents, everything.labels, fraction)
    if not held_out.any():
        raise UserError(
            "no class has two different images, so that none can be held out for validation; "
            "add images"
        )
    return everything.take(np.flatnonzero(~held_out)), everything.take(np.flatnonzero(held_out))
