"""The processes of tests begin with everything imported, or each would take seconds to begin."""

import sys

from workers import together


def _loaded() -> list[str]:
    wanted = ("torch._dynamo", "matplotlib.figure", "torch.distributed", "alexnet.training.run")
    return [name for name in wanted if name not in sys.modules]


def test_processes_begin_with_everything_imported() -> None:
    assert together(1, _loaded) == [[]]
