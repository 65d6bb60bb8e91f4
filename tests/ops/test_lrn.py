"""Local response normalisation against the paper's formula, written as an explicit double loop."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import backward

from alexnet.ops import local_response_norm, local_response_norm_reference

BOTH = pytest.mark.parametrize(
    "normalise", [local_response_norm, local_response_norm_reference], ids=["fast", "reference"]
)


def double_loop(
    x: Tensor,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    columns: int = 1,
) -> Tensor:
    """Section 3.3's equation in float64: map i, and the maps j of its window in its column."""
    a = x.double().numpy()
    b = np.empty_like(a)
    maps = a.shape[1]
    column = maps // columns
    for i in range(maps):
        first_map = i // column * column
        total = np.zeros_like(a[:, 0])
        for j in range(max(first_map, i - size // 2), min(first_map + column, i + size // 2 + 1)):
            total += a[:, j] ** 2
        b[:, i] = a[:, i] / (k + alpha * total) ** beta
    return torch.from_numpy(b)


def noise(*shape: int, std: float = 50.0, seed: int = 0) -> Tensor:
    return std * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@BOTH
@pytest.mark.parametrize("columns", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 3, 5, 9, 15])
def test_is_the_double_loop(normalise: Callable[..., Tensor], size: int, columns: int) -> None:
    """24 maps, so that a window of 15 is wider than a column of 12, 8 or 6."""
    x = noise(2, 24, 5, 3).double()
    for beta, k in [(0.75, 2.0), (0.5, 1.0), (1.0, 0.3)]:
        y = normalise(x, size, 1e-3, beta, k, columns=columns)
        expected = double_loop(x, size, 1e-3, beta, k, columns)
        torch.testing.assert_close(y, expected, rtol=1e-12, atol=0.0)


@BOTH
def test_both_conventions_of_alpha(normalise: Callable[..., Tensor]) -> None:
    x = noise(2, 96, 4, 4).double()
    equation = normalise(x, columns=2)
    authors = normalise(x, divide_alpha=True, columns=2)
    torch.testing.assert_close(equation, double_loop(x, columns=2), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(
        authors, double_loop(x, alpha=1e-4 / 5, columns=2), rtol=1e-12, atol=0.0
    )
    assert (equation / authors).mean() < 0.8  # not a detail: a quarter of the signal at rms 50


@BOTH
def test_torch_says_the_same_with_the_right_arguments(normalise: Callable[..., Tensor]) -> None:
    """torch divides alpha by the window's size: 5e-4 is the equation, 1e-4 the authors' code."""
    x = noise(2, 48, 3, 3).double()
    for alpha, divide in [(5e-4, False), (1e-4, True)]:
        expected = F.local_response_norm(x, 5, alpha=alpha, beta=0.75, k=2.0)
        torch.testing.assert_close(
            normalise(x, divide_alpha=divide), expected, rtol=1e-12, atol=0.0
        )


@BOTH
def test_numbers_worked_out_by_hand(normalise: Callable[..., Tensor]) -> None:
    """A constant 10 in all maps; the sum of squares over five maps is 500."""
    x = torch.full((1, 9, 1, 1), 10.0, dtype=torch.float64)
    middle = [
        normalise(x)[0, 4].item(),  # 10 / (2 + 0.05)^0.75
        normalise(x, divide_alpha=True)[0, 4].item(),  # 10 / (2 + 0.01)^0.75
        normalise(x, divide_alpha=True, k=1.0)[0, 4].item(),  # Caffe: 10 / (1 + 0.01)^0.75
    ]
    assert middle == pytest.approx([5.8369, 5.9238, 9.9257], abs=5e-5)
    # At the first map the window holds three maps: 10 / (2 + 0.03)^0.75.
    assert normalise(x)[0, 0].item() == pytest.approx(10 / 2.03**0.75, rel=1e-12)


@BOTH
def test_small_signals_shrink_by_k_alone(normalise: Callable[..., Tensor]) -> None:
    """The constant k = 2 of the paper, where other libraries have 1 by default."""
    x = torch.full((1, 5, 2, 2), 0.01, dtype=torch.float64)
    torch.testing.assert_close(normalise(x) / x, torch.full_like(x, 2**-0.75), rtol=1e-6, atol=0)


@BOTH
def test_impulse_does_not_cross_the_boundary_between_columns(
    normalise: Callable[..., Tensor],
) -> None:
    """Channel 48 is the first of column b: it must not change channels 46 and 47 of column a."""
    x = noise(1, 96, 2, 2)
    with_impulse = x.clone()
    with_impulse[:, 48] += 1000.0
    changed = (normalise(x, columns=2) != normalise(with_impulse, columns=2)).any((0, 2, 3))
    assert changed.nonzero().flatten().tolist() == [48, 49, 50]
    changed = (normalise(x) != normalise(with_impulse)).any((0, 2, 3))
    assert changed.nonzero().flatten().tolist() == [46, 47, 48, 49, 50]


@BOTH
def test_gradient_does_not_cross_the_boundary_between_columns(
    normalise: Callable[..., Tensor],
) -> None:
    x = noise(1, 96, 2, 2).requires_grad_()
    backward(normalise(x, columns=2)[:, :48].sum())
    assert x.grad is not None
    assert x.grad[:, 48:].abs().max() == 0
    assert x.grad[:, :48].abs().min() > 0


@BOTH
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize(("size", "beta"), [(1, 0.75), (5, 0.75), (5, 0.5), (9, 0.75)])
def test_gradient_is_the_derivative(
    normalise: Callable[..., Tensor], size: int, beta: float, columns: int
) -> None:
    """alpha is large here, so that the part through the denominator counts."""
    x = noise(2, 8, 2, 2, std=1.0).double().requires_grad_()

    def function(x: Tensor) -> Tensor:
        return normalise(x, size=size, alpha=0.3, beta=beta, k=1.5, columns=columns)

    assert torch.autograd.gradcheck(function, (x,))


def test_gradients_of_both_forms_agree_in_every_memory_format() -> None:
    plain = noise(3, 16, 6, 5)
    weights = noise(3, 16, 6, 5, std=1.0, seed=1)
    x = plain.clone().requires_grad_()
    backward(local_response_norm_reference(x, columns=2), weights)
    assert x.grad is not None
    for memory_format in (torch.contiguous_format, torch.channels_last):
        for gradient in (weights, weights.to(memory_format=torch.channels_last)):
            z = plain.clone(memory_format=memory_format).requires_grad_()
            y = local_response_norm(z, columns=2)
            assert y.is_contiguous(memory_format=memory_format)
            backward(y, gradient)
            assert z.grad is not None
            torch.testing.assert_close(z.grad, x.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 2e-6), (torch.bfloat16, 2**-8)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@BOTH
def test_is_exact_to_storage_accuracy(
    normalise: Callable[..., Tensor],
    dtype: torch.dtype,
    rounding: float,
    memory_format: torch.memory_format,
) -> None:
    """The sum is kept in float32 at least: only storing the result may round."""
    x = noise(2, 32, 4, 4).to(dtype).to(memory_format=memory_format)
    y = normalise(x, columns=2)
    assert y.dtype == dtype
    assert y.shape == x.shape
    torch.testing.assert_close(y.double(), double_loop(x, columns=2), rtol=rounding, atol=0.0)


def test_gradient_in_bfloat16_is_exact_to_storage_accuracy() -> None:
    x = noise(2, 16, 4, 4).bfloat16()
    exact, rounded = x.double().requires_grad_(), x.clone().requires_grad_()
    backward(local_response_norm_reference(exact, columns=2).sum())
    backward(local_response_norm(rounded, columns=2).sum())
    assert exact.grad is not None
    assert rounded.grad is not None
    assert rounded.grad.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.grad.double(), exact.grad, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 32, 80, 80), (2, 96, 80, 80), (0, 8, 4, 4)])
def test_batches_of_any_number_of_blocks(shape: tuple[int, ...]) -> None:
    """Several images a block with a rest, an image larger than a block, and no image at all."""
    x = noise(*shape).requires_grad_()
    z = x.detach().clone().requires_grad_()
    y, expected = local_response_norm(x, columns=2), local_response_norm_reference(z, columns=2)
    torch.testing.assert_close(y, expected, rtol=1e-6, atol=0.0)
    backward(y.sum())
    backward(expected.sum())
    torch.testing.assert_close(x.grad, z.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 12), (0, 12, 7), (0, 12, 2, 3, 4), (2, 12, 0)])
def test_nothing_is_normalised_to_nothing(shape: tuple[int, ...]) -> None:
    for dtype in (torch.float32, torch.float64):
        x = torch.empty(shape, dtype=dtype, requires_grad=True)
        y = local_response_norm(x, columns=2)
        assert y.shape == shape
        backward(y.sum())
        assert x.grad is not None
        assert x.grad.shape == shape


@BOTH
def test_units_without_a_place_and_sequences(normalise: Callable[..., Tensor]) -> None:
    """(N, C) and (N, C, L) as well as images, as the documentation says."""
    for shape in [(3, 12), (3, 12, 7)]:
        x = noise(*shape).double()
        torch.testing.assert_close(
            normalise(x, columns=2), double_loop(x, columns=2), rtol=1e-12, atol=0.0
        )


@BOTH
def test_input_is_left_alone(normalise: Callable[..., Tensor]) -> None:
    x = noise(2, 8, 3, 3)
    before = x.clone()
    normalise(x, columns=2)
    assert torch.equal(x, before)


@BOTH
@pytest.mark.parametrize("size", [0, 2, 4, -1])
def test_even_windows_are_refused(normalise: Callable[..., Tensor], size: int) -> None:
    with pytest.raises(ValueError, match="odd"):
        normalise(noise(1, 8, 2, 2), size=size)


@BOTH
def test_columns_of_unequal_width_are_refused(normalise: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="3 equal columns"):
        normalise(noise(1, 8, 2, 2), columns=3)


def test_compiles_and_exports() -> None:
    x = noise(2, 16, 3, 3)
    expected = local_response_norm_reference(x, columns=2)

    class Stage(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return local_response_norm(x, columns=2)

    exported = torch.export.export(Stage(), (x,))
    torch.testing.assert_close(exported.module()(x), expected)
    compiled = torch.compile(Stage(), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)
    any_batch = torch.export.export(Stage(), (x,), dynamic_shapes=({0: torch.export.Dim("N")},))
    torch.testing.assert_close(any_batch.module()(x[:1]), expected[:1])
