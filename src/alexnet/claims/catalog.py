"""Every claim by name."""

from alexnet.claims import relu
from alexnet.claims.claim import Claim
from alexnet.errors import UserError
from alexnet.suggest import unknown

CLAIMS: dict[str, Claim] = {claim.name: claim for claim in (relu.CLAIM,)}


def find_claim(name: str) -> Claim:
    """The claim of that name.

    Raises:
        UserError: there is none.
    """
    if name not in CLAIMS:
        raise UserError(unknown("claim", name, CLAIMS))
    return CLAIMS[name]
