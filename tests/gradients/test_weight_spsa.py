"""SPSA of the encoder's weights."""

import pytest
import torch

from qrnn_helpers import QRNN, ExactBackend, QuantumRecurrentLayer, rotation_step
from qrnn_helpers.gradients import WeightSPSA


def gradients(gradient=None) -> list[torch.Tensor]:
    x = torch.randn(5, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    options = {} if gradient is None else {"backend": ExactBackend(), "gradient": gradient}
    model = QRNN(2, 1, rotation_step(1, 1), dtype=torch.float64, seed=1, **options)
    model(x)[0].square().mean().backward()
    return [weight.grad for weight in model.parameters()]


def test_the_mean_over_many_directions_is_the_exact_gradient():
    """Each direction's squared error is at most the squared norm times the number of weights."""
    directions = 20_000
    exact = gradients()
    found = gradients(WeightSPSA(1e-3, directions, 0))
    size = sum(g.square().sum() for g in exact[:2])
    for estimate, slope in zip(found[:2], exact[:2], strict=True):
        assert (estimate - slope).abs().max() < 5 * (size / directions).sqrt()
    for estimate, slope in zip(found[2:], exact[2:], strict=True):
        torch.testing.assert_close(estimate, slope)


def test_one_direction_is_a_difference_of_two_losses_along_it():
    """With exact probabilities and weights dL/dp, g / Delta is the same number everywhere: the directional slope."""
    exact, found = gradients(), gradients(WeightSPSA(1e-4, 1, 3))
    estimate = torch.cat([g.flatten() for g in found[:2]])
    assert torch.allclose(estimate.abs(), estimate.abs()[0])
    slope = torch.cat([g.flatten() for g in exact[:2]]) @ estimate.sign()
    torch.testing.assert_close(estimate.abs()[0], slope.abs(), rtol=1e-5, atol=1e-9)
    assert (slope * estimate[0] * estimate.sign()[0]) > 0


def test_a_layer_without_encoder_refuses_it():
    layer = QuantumRecurrentLayer(rotation_step(1, 1), backend=ExactBackend(), gradient=WeightSPSA())
    with pytest.raises(ValueError, match="gradient must not be WeightSPSA in a layer without an encoder"):
        layer(torch.zeros(1, 2, 13, dtype=torch.float64))


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="c must be"):
        WeightSPSA(c=0.0)
    with pytest.raises(ValueError, match="directions must be"):
        WeightSPSA(directions=0)
