"""The rooms of the house: who may import whom, and what must stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import alexnet

_SOURCE = Path(alexnet.__file__).parent
# A room may import from rooms above it in this list and from its own, never from below.
_ROOMS = (
    ("commands", "errors", "findings", "process", "suggest"),
    ("config", "draws", "files", "progress", "rows"),
    ("native",),
    ("defaults",),
    ("recipes",),
    ("ops",),
    ("model",),
    ("parallel",),
    ("data",),
    ("evaluation",),
    ("training",),
    ("bench", "claims", "doctor", "figures", "tuning"),
    ("planning",),
    ("verbs",),
    ("cli",),
)
_LEVEL = {room: level for level, rooms in enumerate(_ROOMS) for room in rooms}


def _imports(path: Path) -> list[str]:
    """The alexnet rooms that a file imports, wherever in it."""
    rooms = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("alexnet."):
            rooms.append(str(node.module).split(".")[1])
        if isinstance(node, ast.Import):
            rooms += [n.name.split(".")[1] for n in node.names if n.name.startswith("alexnet.")]
    return rooms


@pytest.mark.parametrize(
    "path",
    [p for p in sorted(_SOURCE.rglob("*.py")) if p.name not in ("__init__.py", "__main__.py")],
    ids=lambda path: str(path.relative_to(_SOURCE)),
)
def test_a_room_imports_only_from_above(path: Path) -> None:
    room = path.relative_to(_SOURCE).parts[0].removesuffix(".py")
    below = [other for other in _imports(path) if _LEVEL[other] > _LEVEL[room]]
    assert below == []


def test_model_and_ops_know_nothing_of_data_and_training() -> None:
    for room in ("model", "ops"):
        for path in (_SOURCE / room).glob("*.py"):
            assert not {"data", "training", "parallel", "evaluation"} & set(_imports(path)), path


@pytest.mark.parametrize(
    "module", ["alexnet", "alexnet.cli", "alexnet.config", "alexnet.defaults", "alexnet.recipes"]
)
def test_stays_free_of_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


_TRAINING = """
import sys
from pathlib import Path
import numpy
from alexnet.training import run
run.write_run_report = lambda *things: None
run.train("digits", out=Path(sys.argv[1]), assignments=sys.argv[2:])
assert not {"triton", "torch._dynamo", "sympy", "matplotlib"} & sys.modules.keys()
from alexnet.evaluation import plots
plots.svg(plots.kernels_figure(numpy.ones((4, 3, 5, 5)), 2), "k", "kernels")
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""


def test_a_training_loads_no_compiler_and_draws_without_pyplot(tmp_path: Path) -> None:
    """torch's own would take as long to load as torch itself."""
    changes = ("model.width=0.03125", "model.image_size=64", "data.size=72", "train.steps=1")
    line = [sys.executable, "-c", _TRAINING, str(tmp_path / "run"), *changes]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_core_never_imports_torchvision_or_torchmetrics() -> None:
    for path in _SOURCE.rglob("*.py"):
        text = path.read_text()
        assert "torchvision" not in text, path
        assert "torchmetrics" not in text, path
