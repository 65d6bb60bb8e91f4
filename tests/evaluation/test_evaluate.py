"""Error rates of networks: views, averages of probabilities, ensembles, any batch size."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config import ModelConfig
from alexnet.data.images import load_square
from alexnet.data.pixels import ImageSet, images_in_memory
from alexnet.data.sources import Source, Split
from alexnet.errors import UserError
from alexnet.evaluation.evaluate import (
    Evaluation,
    average,
    evaluate,
    evaluate_model,
    match_classes,
    predict_images,
)
from alexnet.evaluation.predict import Predictor
from alexnet.evaluation.tables import per_class_lines
from alexnet.model.changes import resolve
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS
from alexnet.model.weights import save_weights
from alexnet.parallel.world import make_world

CPU = make_world("cpu", "fp32")
CLASSES = ("blue", "green", "red")


def network(seed: int = 0, classes: Sequence[str] = CLASSES) -> AlexNet:
    """A narrow network for 64-pixel crops of 72-pixel squares that answers differently to each."""
    model = AlexNet(resolve(ModelConfig(width=1 / 16, image_size=64)), len(classes), seed=seed)
    model.classes = tuple(classes)
    model.stored_size = 72
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (model.conv2, model.conv3, model.conv4, model.conv5, model.fc6, model.fc7):
            layer.weight.normal_(0, (2 / layer.weight[0].numel()) ** 0.5, generator=generator)
        model.mean.uniform_(90, 140, generator=generator)
        model.eval()
        crops = pixels_of(image_set())[:, 4:68, 4:68]
        logits = model(torch.from_numpy(crops).permute(0, 3, 1, 2))
        model.fc8.weight /= logits.std()
        model.get_parameter("fc8.bias").sub_((logits / logits.std()).mean(0))
    return model


def image_set(count: int = 11, side: int = 72) -> ImageSet:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)
    pixels = coarse.repeat(side // 9, axis=1).repeat(side // 9, axis=2)
    return images_in_memory(pixels, np.arange(count) % 3, [f"image {i}" for i in range(count)])


def pixels_of(images: ImageSet) -> npt.NDArray[np.uint8]:
    return np.stack([images.store.picture(i) for i in range(len(images))])


@torch.no_grad()
def softmax_of(model: AlexNet, views: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(N, S, S, 3) pixels to (N, C) probabilities, one plain forward pass."""
    logits = model(torch.from_numpy(np.ascontiguousarray(views)).permute(0, 3, 1, 2))
    return np.asarray(logits.double().softmax(1).numpy())


# --- views -----------------------------------------------------------------------------------


def test_one_view_is_the_centre() -> None:
    model, images = network(), image_set()
    found = evaluate_model(model, images, 1, CPU, show_progress=False)
    expected = softmax_of(model, pixels_of(images)[:, 4:68, 4:68])
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert found.views == 1
    assert expected.std(0).min() > 0.01  # the answers differ between images


def test_ten_views_are_ten_explicit_slices_averaged() -> None:
    model, images = network(), image_set()
    p = pixels_of(images)
    five = [p[:, :64, :64], p[:, :64, 8:], p[:, 4:68, 4:68], p[:, 8:, :64], p[:, 8:, 8:]]
    views = five + [view[:, :, ::-1] for view in five]
    expected = np.mean([softmax_of(model, view) for view in views], axis=0)
    found = evaluate_model(model, images, 10, CPU, show_progress=False)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert np.abs(expected - softmax_of(model, five[2])).max() > 0.01  # it makes a difference
    assert found.views == 10


class _ReadsACorner(nn.Module):
    """Stands in for a network: its logits are a table's row for the first pixel it sees."""

    def __init__(self, table: dict[int, list[float]]) -> None:
        super().__init__()
        self.table = table
        self.num_classes = 2
        self.classes = ("a", "b")
        self.variant = replace(VARIANTS["paper"], image_size=4)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor([self.table[int(value)] for value in images[:, 0, 0, 0]])


def test_probabilities_are_averaged_and_not_logits() -> None:
    """One view shouts "a", nine murmur "b": their mean probability is b's, their mean logit a's."""
    pixels = np.full((1, 6, 6, 3), 2, dtype=np.uint8)
    pixels[0, 0, 0] = 1  # seen first by the top left view alone
    model: Any = _ReadsACorner({1: [100.0, 0.0], 2: [0.0, 0.5]})
    images = images_in_memory(pixels, np.array([1]), ["image"])
    (found,) = predict_images(model, images, 10, CPU, batch_size=1)
    b = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(found, [[(1 + 9 * (1 - b)) / 10, 9 * b / 10]], rtol=1e-6)
    assert found[0].argmax() == 1
    logits = (np.array([100.0, 0.0]) + 9 * np.array([0.0, 0.5])) / 10
    assert logits.argmax() == 0


@pytest.mark.parametrize("views", [0, 5, 11])
def test_other_numbers_of_views_are_refused(views: int) -> None:
    """Rather than measured as one view and reported as so many."""
    with pytest.raises((UserError, ValueError)):
        evaluate_model(network(), image_set(2), views, CPU, show_progress=False)


# --- exactness -------------------------------------------------------------------------------


@pytest.mark.parametrize("views", [1, 10])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 11, 128])
def test_result_is_the_same_for_any_batch_size(views: int, batch_size: int) -> None:
    model, images = network(), image_set()
    expected = evaluate_model(model, images, views, CPU, 5, show_progress=False)
    found = evaluate_model(model, images, views, CPU, batch_size, show_progress=False)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    assert found.images == 11
    assert (found.top1_error, found.top5_error) == (expected.top1_error, expected.top5_error)
    assert list(found.keys) == list(images.keys)


def test_evaluation_is_without_dropout_or_noise_even_in_the_middle_of_training() -> None:
    model, images = network().train(), image_set()
    first = evaluate_model(model, images, 1, CPU, show_progress=False)
    model.train()
    torch.manual_seed(99)
    second = evaluate_model(model, images, 1, CPU, show_progress=False)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    np.testing.assert_allclose(
        first.probabilities, softmax_of(network(), pixels_of(images)[:, 4:68, 4:68]), atol=1e-5
    )


def evaluation(probabilities: list[list[float]], labels: list[int]) -> Evaluation:
    return Evaluation(
        np.array(probabilities, dtype=np.float32),
        np.array(labels),
        [str(i) for i in range(len(labels))],
        [str(i) for i in range(len(probabilities[0]))],
        1,
    )


@pytest.mark.parametrize("names", ["ab", ("a dog", "a wolf")])
def test_columns_stand_below_their_titles(names: Sequence[str]) -> None:
    measured = replace(evaluation([[0.9, 0.1], [0.2, 0.8]], [0, 0]), classes=names)
    header, line = per_class_lines(measured)
    assert line.startswith(names[0])
    assert header.index("error") + len("error") == line.index("50.00%") + len("50.00%")
    assert header.index("mostly taken for") == line.rindex(names[1])


def test_errors_and_loss_by_hand() -> None:
    measured = evaluation(
        [
            [0.4, 0.2, 0.1, 0.1, 0.1, 0.1, 0.0],  # right
            [0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05],  # second: top-5 right
            [0.3, 0.2, 0.2, 0.15, 0.1, 0.05, 0.0],  # sixth: wrong twice
            [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0],  # a tie: half right
        ],
        [0, 1, 5, 1],
    )
    assert measured.top1_error == pytest.approx((0 + 1 + 1 + 0.5) / 4)
    assert measured.top5_error == pytest.approx((0 + 0 + 1 + 0) / 4)
    assert measured.loss == pytest.approx(-np.log([0.4, 0.2, 0.05, 0.5]).mean(), rel=1e-6)
    document = measured.to_json()
    assert document["images"] == 4
    assert document["top1_error"] == measured.top1_error
    low, high = document["top1_error_interval"]
    assert low < 0.625 < high


def test_impossible_and_undefined_probabilities() -> None:
    sure_and_wrong = evaluation([[1.0, 0.0]], [1])
    assert sure_and_wrong.top1_error == 1.0
    assert 80 < sure_and_wrong.loss < 110
    broken = evaluation([[float("nan")] * 7, [1.0, 0, 0, 0, 0, 0, 0]], [0, 0])
    assert broken.top1_error == 0.5
    assert broken.top5_error == 0.5


def test_a_thousand_equal_answers_err_in_999_of_1000() -> None:
    measured = evaluation([[0.001] * 1000] * 3, [0, 500, 999])
    assert measured.top1_error == pytest.approx(0.999, abs=1e-12)
    assert measured.top5_error == pytest.approx(0.995, abs=1e-12)


def test_nothing_to_evaluate_is_a_user_error() -> None:
    nothing = images_in_memory(np.empty((0, 72, 72, 3), np.uint8), np.empty(0, np.int64), [])
    with pytest.raises(UserError, match="no readable image"):
        evaluate_model(network(), nothing, 1, CPU)


# --- several networks ------------------------------------------------------------------------


def test_an_ensemble_averages_probabilities() -> None:
    """Two networks that are both wrong may be right together; the better logit may not win."""
    shouts = evaluation([[0.98, 0.01, 0.01]], [1])
    murmurs = evaluation([[0.0, 0.49, 0.51]], [1])
    third = evaluation([[0.0, 0.95, 0.05]], [1])
    both = average([shouts, murmurs, third])
    np.testing.assert_allclose(both.probabilities, [[0.98 / 3, 1.45 / 3, 0.57 / 3]], rtol=1e-6)
    assert [e.top1_error for e in (shouts, murmurs, both)] == [1.0, 1.0, 0.0]
    geometric = np.prod([[0.98, 1e-9, 0.0], [0.01, 0.49, 0.95], [0.01, 0.51, 0.05]], axis=1)
    assert geometric.argmax() == 1
    np.testing.assert_array_equal(average([third]).probabilities, third.probabilities)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / f"run-{seed}" for seed in range(3)]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        save_weights(folder / "weights.safetensors", network(seed))
    return folders


def pictures_of(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    files = sorted((folder / "val").rglob("*.png"))
    pixels = np.stack([load_square(file.read_bytes(), 72) for file in files])
    return pixels, np.array([CLASSES.index(file.parent.name) for file in files])


@pytest.mark.parametrize("views", [1, 10])
def test_evaluate_from_files_is_the_plain_computation(
    runs: list[Path], image_folder: Path, views: int
) -> None:
    """From PNG files and a weights file to an error rate, against a few plain lines."""
    pixels, labels = pictures_of(image_folder)
    corners = [(4, 4)] if views == 1 else [(0, 0), (0, 8), (4, 4), (8, 0), (8, 8)]
    expected = []
    for seed in range(2):
        slices = [pixels[:, y : y + 64, x : x + 64] for y, x in corners]
        if views == 10:
            slices += [view[:, :, ::-1] for view in slices]
        expected.append(np.mean([softmax_of(network(seed), view) for view in slices], axis=0))
    for models, answer in (
        (runs[0], expected[0]),
        ([runs[1]], expected[1]),
        (runs[:2], np.mean(expected, axis=0)),
    ):
        measured = evaluate(models, str(image_folder), views=views, device="cpu", batch_size=7)
        order = np.lexsort((measured.labels,))
        assert measured.images == len(labels) == 30
        np.testing.assert_array_equal(measured.labels[order], labels)
        # Computed in bfloat16 where the processor has it: three digits.
        np.testing.assert_allclose(measured.probabilities[order], answer, atol=2e-2)
        wrong = (answer.argmax(1) != labels).mean()
        assert measured.top1_error == pytest.approx(wrong, abs=1 / 30 + 1e-9)
        assert measured.top5_error == 0.0


def test_networks_with_other_classes_are_not_averaged(runs: list[Path], image_folder: Path) -> None:
    save_weights(runs[2] / "weights.safetensors", network(2, ("cat", "dog", "emu")))
    with pytest.raises(UserError, match="differ in classes"):
        evaluate(runs, str(image_folder), device="cpu")
    with pytest.raises(UserError, match="not trained on"):
        evaluate(runs[2], str(image_folder), device="cpu")


def test_runs_that_held_out_other_images_are_not_averaged(
    runs: list[Path], image_folder: Path
) -> None:
    """One would be measured on what it was trained on; not so where val/ says what is held out."""
    for seed, fraction in enumerate((0.5, 0.1)):
        model = network(seed)
        model.training_data = {"validation_fraction": fraction}
        save_weights(runs[seed] / "weights.safetensors", model)
    assert evaluate(runs[:2], str(image_folder), device="cpu").images == 30
    with pytest.raises(UserError, match="held out different parts"):
        evaluate(runs[:2], str(image_folder / "train"), device="cpu")
    halves = evaluate(runs[0], str(image_folder / "train"), device="cpu").images
    tenths = evaluate(runs[1], str(image_folder / "train"), device="cpu").images
    assert 0 < tenths < halves < 60


def test_an_unknown_split_is_a_user_error(runs: list[Path], image_folder: Path) -> None:
    """Rather than the training images under another name."""
    with pytest.raises((UserError, ValueError)):
        evaluate(runs[0], str(image_folder), split="test", device="cpu")


def source(classes: tuple[str, ...], train: list[int], validation: list[int]) -> Source:
    def split(labels: list[int]) -> Split:
        return Split([str(i) for i in labels], np.array(labels, np.int64), lambda i: b"")

    return Source("pictures", "folder", classes, split(train), split(validation))


def test_a_folder_of_its_own_is_said_to_be_measured_in_part(
    runs: list[Path],
    new_image_folder: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Pictures without splits, which training would divide: all of them can be measured."""
    folder = new_image_folder(count=6) / "train"
    images = sorted(folder.rglob("*.png"))
    part = evaluate(runs[0], folder, device="cpu")
    assert 0 < part.images < len(images)
    said = f"measured are the {part.images} images of train that a training would hold out"
    assert f"{said}, of {len(images)}; --split all" in capsys.readouterr().err
    whole = evaluate(runs[0], folder, split="all", device="cpu")
    assert sorted(whole.keys) == [str(path.relative_to(folder)) for path in images]
    assert "measured are" not in capsys.readouterr().err
    for key, label in zip(whole.keys, whole.labels, strict=True):
        assert whole.classes[label] == key.split("/")[0]
    predicted = Predictor(runs[0], "cpu")([folder / key for key in whole.keys], top=1)
    answers = [whole.classes[row.argmax()] for row in whole.probabilities]
    assert [entry.classes[0][0] for entry in predicted] == answers


def test_labels_are_renumbered_to_the_classes_of_the_network() -> None:
    """Data with some of the network's classes, in another order."""
    given = source(("zebra", "ant"), [0, 1, 1], [1, 0])
    given = replace(given, test=given.validation)
    matched = match_classes(given, ("ant", "bee", "zebra"))
    assert matched.classes == ("ant", "bee", "zebra")
    assert matched.train.labels.tolist() == [2, 0, 0]
    assert matched.validation.labels.tolist() == [0, 2]
    assert matched.test is not None
    assert matched.test.labels.tolist() == [0, 2]
    assert match_classes(given, ("zebra", "ant")) is given
    with pytest.raises(UserError, match=r"1 classes? that the network .*'zebra'"):
        match_classes(given, ("ant", "bee"))


def test_classes_that_read_the_same_are_the_same() -> None:
    """`Äpfel` from a Mac, whose Ä is two characters, and a class in other capitals."""
    given = source(("A\u0308pfel", "ant"), [0, 1, 1], [1, 0])
    assert match_classes(given, ("ant", "\u00c4pfel")).train.labels.tolist() == [1, 0, 0]
    with pytest.raises(UserError, match=r"'ant'; 'Ant' differs in case or form only"):
        match_classes(given, ("Ant", "\u00c4pfel"))


def test_softmax_is_taken_in_float32_whatever_the_network_computes_in() -> None:
    """bfloat16 keeps three digits: probabilities must still add up to 1."""
    world = replace(CPU, precision="bf16")
    (found,) = predict_images(network(), image_set(4), 1, world, batch_size=4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-6)
    expected = F.softmax(torch.from_numpy(found).log(), 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
