import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssrlib import SSRNet, soft_stagewise_regression


def random_faces(count: int) -> torch.Tensor:
    seed = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=seed)


def formula(p, eta, delta, value_range, lambda_eta, lambda_delta):
    """The reference's formula, written out for one face."""
    total = 0.0
    for k in range(len(p)):
        inner = sum((i + lambda_eta * eta[k][i]) * p[k][i] for i in range(len(p[k])))
        product = math.prod(len(p[j]) * (1 + lambda_delta * delta[j]) for j in range(k + 1))
        total += inner * value_range / product
    return total


share, shift = st.floats(0, 2, width=32), st.floats(-1, 1, width=32)
stage = st.integers(1, 6).flatmap(
    lambda s: st.tuples(
        st.lists(share, min_size=s, max_size=s),
        st.lists(shift, min_size=s, max_size=s),
        st.floats(-0.75, 1, width=32),
    )
)


@given(st.lists(stage, min_size=1, max_size=4), st.floats(0.5, 200), st.floats(0, 1), st.floats(0, 1))
def test_formula_equals_the_written_out_sum(stages, value_range, lambda_eta, lambda_delta):
    p, eta, delta = zip(*stages, strict=True)
    value = soft_stagewise_regression(
        [torch.tensor([row]) for row in p],
        [torch.tensor([row]) for row in eta],
        [torch.tensor([scale]) for scale in delta],
        value_range,
        lambda_eta,
        lambda_delta,
    )
    expected = formula(p, eta, delta, value_range, lambda_eta, lambda_delta)
    assert value.shape == (1,)
    assert value.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_hard_choices_are_digits_in_base_three(digits):
    p = [torch.eye(3)[[digit]] for digit in digits]
    zero = [torch.zeros(1, 3)] * len(p)
    value = soft_stagewise_regression(p, zero, [torch.zeros(1)] * len(p), 1.0).item()
    assert value == pytest.approx(sum(d / 3 ** (k + 1) for k, d in enumerate(digits)), abs=1e-6)


@pytest.mark.parametrize(
    ("bins", "count"), [((3, 3, 3), 40_531), ((3,), None), ((5, 2), None), ((27,), None), ((2, 3, 4), None)]
)
def test_stages_have_their_bins_and_make_up_the_value(bins, count):
    network = SSRNet(bins=bins).eval()
    faces = random_faces(4)
    values, stages = network(faces, return_stages=True)
    assert values.shape == (4,)
    assert [tuple(stage.p.shape) for stage in stages] == [(4, s) for s in bins]
    assert all((stage.p >= 0).all() and (stage.eta.abs() <= 1).all() for stage in stages)
    assert all(stage.delta.shape == (4,) and (stage.delta.abs() <= 1).all() for stage in stages)
    p, eta, delta = zip(*stages, strict=True)
    torch.testing.assert_close(values, soft_stagewise_regression(p, eta, delta, 101.0))
    torch.testing.assert_close(values, network(faces))
    if count:
        assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_uint8_and_float_faces_give_the_same_values(age_network):
    faces = random_faces(4)
    torch.testing.assert_close(age_network(faces), age_network(faces.double()))


def test_formula_stays_in_float32_under_autocast(age_network):
    faces = random_faces(8)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        values, stages = age_network(faces, return_stages=True)
    assert values.dtype == torch.float32
    assert all(tensor.dtype == torch.float32 for stage in stages for tensor in stage)
    # Convolutions in bfloat16 keep three digits; a formula in bfloat16 would lose whole years.
    np.testing.assert_allclose(values, age_network(faces).detach(), atol=2.5)


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        (torch.zeros(2, 64, 64, 3), r"channels last: use faces\.permute\(0, 3, 1, 2\)"),
        (torch.zeros(3, 64, 64), "N x 3 x 64 x 64.*got 3 x 64 x 64"),
        (torch.zeros(2, 3, 32, 32), "got 2 x 3 x 32 x 32"),
        (torch.zeros(2, 1, 64, 64), "got 2 x 1 x 64 x 64"),
        (torch.zeros(2, 3, 64, 64, dtype=torch.int64), "uint8 or float; got torch.int64"),
    ],
)
def test_faces_that_break_the_contract_are_refused(faces, message):
    with pytest.raises(ValueError, match=message):
        SSRNet()(faces)


@pytest.mark.parametrize("bins", [(), (3, 0), (3, 3, 3, 3)])
def test_impossible_bins_are_refused(bins):
    with pytest.raises(ValueError, match="one to three positive counts"):
        SSRNet(bins=bins)


def test_empty_batch_is_an_empty_answer():
    assert SSRNet().eval()(torch.zeros(0, 3, 64, 64)).shape == (0,)
