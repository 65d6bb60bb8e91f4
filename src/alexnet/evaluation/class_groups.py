"""Which classes are taken for one another: an order of the classes that shows it.

A table of a thousand classes squared cannot be read. Classes that are confused with each other
rather than with the rest form groups; a few dozen groups can be read.
"""

import numpy as np
import numpy.typing as npt


def confused_groups(confusion: npt.NDArray[np.int64], count: int) -> list[list[int]]:
    """Split the classes into groups of nearly equal size, so that most mistakes stay inside one.

    Recursive spectral bisection: the second eigenvector of the normalised Laplacian of the
    mistakes (Fiedler 1973; Shi and Malik 2000) puts classes in an order in which those that are
    taken for one another stand close. The order is cut in the middle, classes that would rather
    stand on the other side change places (Kernighan and Lin 1970), and each half is ordered anew.

    Args:
        confusion: (C, C) counts, rows true, columns predicted.
        count: how many groups, 1 <= count <= C.

    Returns:
        `count` lists of class indices, which together hold every class once.
    """
    mistakes = confusion - np.diag(np.diag(confusion))
    affinity = (mistakes + mistakes.T).astype(np.float64)
    return _split(np.arange(len(confusion)), affinity, count)


def _split(
    members: npt.NDArray[np.int64], affinity: npt.NDArray[np.float64], count: int
) -> list[list[int]]:
    if count == 1:
        return [members.tolist()]
    ordered = members[_order(affinity[np.ix_(members, members)])]
    cut = round(len(members) * (count // 2) / count)
    left, right = _exchange(ordered[:cut], ordered[cut:], affinity)
    return [
        *_split(left, affinity, count // 2),
        *_split(right, affinity, count - count // 2),
    ]


def _exchange(
    left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], affinity: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Exchange the best pair of classes until no exchange brings more mistakes to one side.

    The affinities are counts, so every exchange gains at least one and the exchanges end.
    """
    left, right = left.copy(), right.copy()
    while True:
        pull = affinity[:, right].sum(axis=1) - affinity[:, left].sum(axis=1)  # to the right
        gain = pull[left][:, None] - pull[right][None, :] - 2 * affinity[np.ix_(left, right)]
        i, j = np.unravel_index(gain.argmax(), gain.shape)
        if gain[i, j] <= 0:
            return left, right
        left[i], right[j] = right[j], left[i]


def _order(affinity: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The order of the second eigenvector; as they came where nothing was mistaken."""
    if not affinity.any():
        return np.arange(len(affinity))
    # A little of everything joined to everything keeps separate parts in one spectrum.
    joined = affinity + 1e-3 * affinity.sum() / len(affinity) ** 2
    root = 1.0 / np.sqrt(joined.sum(axis=1))
    _, vectors = np.linalg.eigh(np.eye(len(joined)) - root[:, None] * joined * root[None, :])
    order = np.argsort(root * vectors[:, 1], kind="stable")
    half = len(order) // 2
    # The sign of an eigenvector is arbitrary: begin at the end that holds the earlier classes.
    return order if order[:half].mean() <= order[half:].mean() else order[::-1]
