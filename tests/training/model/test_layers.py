import pytest
import torch
from torch.nn import functional

from sequifier_hpo.training.model.layers import Dropout, DropoutMasks, RMSNorm


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_every_element_is_dropped_equally_often_and_the_mean_is_kept(probability: float) -> None:
    torch.manual_seed(0)
    num_elements = 400_003  # no multiple of the four elements that share a random number

    y = Dropout(probability)(torch.ones(num_elements))

    shares = (y[:400_000] == 0).double().view(-1, 4).mean(0)
    assert shares.tolist() == pytest.approx([probability] * 4, abs=0.006)
    assert y.mean().item() == pytest.approx(1, abs=0.03)
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - probability)], rel=1e-4)


def test_dropout_draws_the_same_again_from_the_same_state() -> None:
    dropout, x = Dropout(0.3), torch.ones(3, 5, 7)
    state = torch.get_rng_state()

    first = dropout(x)
    torch.set_rng_state(state)
    second = dropout(x)

    assert torch.equal(first, second)
    assert not torch.equal(second, dropout(x))


def test_masks_from_a_store_are_those_that_would_have_been_drawn() -> None:
    sizes = [7, 400, 1, 33]
    masks = DropoutMasks(0.3)
    state = torch.get_rng_state()
    masks.open(None)
    drawn, after = [masks.take(size) for size in sizes], torch.get_rng_state()
    torch.set_rng_state(state)

    masks.open(masks.draw(masks.num_taken))
    stored = [masks.take(size) for size in sizes]

    assert all(torch.equal(a, b) for a, b in zip(drawn, stored, strict=True))
    assert torch.equal(torch.get_rng_state(), after)


def test_gradients_pass_where_values_do() -> None:
    x = torch.full((50, 20), 2.0, requires_grad=True)

    y = Dropout(0.5)(x)
    torch.autograd.backward(y.sum())

    assert x.grad is not None
    assert torch.equal(x.grad, y.detach() / 2)


@pytest.mark.parametrize(("probability", "expected"), [(1.0, 0.0), (1e-9, 1.0)])
def test_probabilities_beyond_the_rounding_still_work(probability: float, expected: float) -> None:
    y = Dropout(probability)(torch.ones(100))

    assert torch.equal(y, torch.full((100,), expected))


def test_nothing_is_dropped_in_evaluation() -> None:
    dropout = Dropout(0.9).eval()
    x, state = torch.ones(10), torch.get_rng_state()

    assert dropout(x) is x
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_norm_and_its_gradients_are_those_of_torch(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    norm = RMSNorm(24)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(24, generator=generator))
    x = (torch.randn(6, 5, 24, generator=generator) * scale).requires_grad_()
    gradient = torch.randn(6, 5, 24, generator=generator)
    x64, weight64 = (t.detach().double().requires_grad_() for t in (x, norm.weight))

    y = norm(x)
    torch.autograd.backward(y, gradient)
    expected = functional.rms_norm(x64, (24,), weight64, 1e-6)
    torch.autograd.backward(expected, gradient.double())

    for ours, exact in ((y, expected), (x.grad, x64.grad), (norm.weight.grad, weight64.grad)):
        assert ours is not None
        assert exact is not None
        torch.testing.assert_close(ours.double(), exact, rtol=2e-6, atol=2e-6 / min(scale, 1.0))
