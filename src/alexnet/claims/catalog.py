"""Every claim by name."""

from alexnet.claims import (
    augmentation,
    depth,
    dropout,
    normalisation,
    normalisation_full_net,
    overlapping_pooling,
    relu,
    retrieval,
    specialisation,
    tables,
    ten_views,
    two_columns,
)
from alexnet.claims.claim import Claim
from alexnet.errors import UserError
from alexnet.suggest import unknown

CLAIMS: dict[str, Claim] = {
    module.CLAIM.name: module.CLAIM
    for module in (
        relu,
        normalisation,
        normalisation_full_net,
        overlapping_pooling,
        two_columns,
        augmentation,
        dropout,
        depth,
        ten_views,
        tables,
        specialisation,
        retrieval,
    )
}


def find_claim(name: str) -> Claim:
    """The claim of that name.

    Raises:
        UserError: there is none.
    """
    if name not in CLAIMS:
        raise UserError(unknown("claim", name, CLAIMS))
    return CLAIMS[name]
