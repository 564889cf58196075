"""Random draws depend only on their key."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldm.keyed_random import generator, numpy_generator, step_generator

KEYS = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))


def torch_draw(*key: int) -> list[float]:
    return torch.rand(4, generator=generator(*key)).tolist()


def numpy_draw(*key: int) -> list[float]:
    return numpy_generator(*key).random(4).tolist()


draws = pytest.mark.parametrize("draw", [torch_draw, numpy_draw])


@draws
@given(key=KEYS, other=KEYS)
def test_equal_keys_draw_alike_and_different_keys_do_not(draw, key, other):
    assert draw(*key) == draw(*key)
    assert (draw(*key) == draw(*other)) == (key == other)


@draws
def test_the_parts_of_a_key_do_not_add_up(draw):
    table = [draw(seed, step) for seed in range(8) for step in range(8)]
    assert len({tuple(row) for row in table}) == 64


@draws
def test_draws_neither_use_nor_move_the_global_generators(draw):
    torch.manual_seed(0)
    np.random.seed(0)
    first = draw(1, 2)
    torch.manual_seed(7)
    np.random.seed(7)
    expected = torch.rand(2), np.random.random(2)
    torch.manual_seed(7)
    np.random.seed(7)
    assert draw(1, 2) == first
    assert torch.equal(torch.rand(2), expected[0]) and (np.random.random(2) == expected[1]).all()


@draws
def test_a_negative_key_is_an_error(draw):
    with pytest.raises(ValueError):
        draw(-1, 0)


def test_each_process_draws_its_own_numbers_in_each_step():
    draws = {tuple(torch.rand(4, generator=step_generator(7, s, p)).tolist()) for s in range(4) for p in range(4)}
    assert len(draws) == 16
    assert torch.rand(4, generator=step_generator(7, 3)).tolist() == torch_draw(7, 3)
