"""Weights as safetensors files whose header says everything needed to use them."""

import dataclasses
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from alexnet.commands import quoted_command
from alexnet.errors import UserError
from alexnet.files import at_home, write_atomically
from alexnet.model.build import Network, build_network
from alexnet.model.catalog import from_document
from alexnet.model.header import FORMAT, misfit, open_weights


def save_weights(path: Path, model: Network) -> None:
    """Write weights, subtracted mean, variant, class names and training data into one file.

    Raises:
        CannotWriteError: the file cannot be written; an old one is untouched.
    """
    header = {
        "format": FORMAT,
        "variant": json.dumps(dataclasses.asdict(model.variant)),
        "classes": json.dumps(list(model.classes)),
        "stored_size": str(model.stored_size),
        "training_data": json.dumps(model.training_data),
    }
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=header))


def load(run_or_weights: str | Path) -> Network:
    """The network of a run directory or of a `weights.safetensors`, with its class names.

    Raises:
        UserError: nothing there, or not a file of ours.
    """
    path = at_home(run_or_weights)
    if path.is_dir():
        path = path / "weights.safetensors"
        if not path.exists():
            going_on = quoted_command("train", "--resume", path.parent)
            raise UserError(
                f"{path.parent} holds no weights.safetensors: not a run, or one that has not "
                f"finished its first epoch ({going_on} continues it)"
            )
    if not path.exists():
        raise UserError(f"there is no run or weights file {path}")
    with open_weights(path, "pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    try:
        model = _described(header)
        model.load_state_dict(tensors, assign=True)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise misfit(path, error) from None
    return model.eval()


def _described(header: dict[str, str]) -> Network:
    """The network of a header, without its weights."""
    classes = json.loads(header["classes"])
    with torch.device("meta"):
        model = build_network(from_document(json.loads(header["variant"])), len(classes), seed=None)
    model.classes = tuple(classes)
    model.stored_size = int(header["stored_size"])
    model.training_data = json.loads(header["training_data"])
    return model
