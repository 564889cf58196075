"""The shape of the learning-rate schedule, and its effect on the optimiser."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldm.training.optimization import constant, warmup_cosine, warmup_stable_decay, with_schedule


@given(warmup=st.integers(0, 50), rest=st.integers(1, 200))
def test_it_rises_in_a_line_to_one_and_falls_to_zero(warmup, rest):
    total = warmup + rest
    values = [warmup_cosine(step, warmup, total) for step in range(total + 1)]
    assert values[:warmup] == pytest.approx([(step + 1) / warmup for step in range(warmup)])
    assert values[warmup] == 1.0 and values[total] == pytest.approx(0.0)
    falling = values[warmup:]
    assert falling == sorted(falling, reverse=True)
    middle = [a + b for a, b in zip(falling, reversed(falling), strict=True)]  # half a cosine is symmetric
    assert middle == pytest.approx([1.0] * len(middle))


@given(warmup=st.integers(0, 20), stable=st.integers(0, 50), decay=st.integers(1, 50))
def test_it_rises_stays_and_falls_in_a_line(warmup, stable, decay):
    total = warmup + stable + decay
    values = [warmup_stable_decay(step, warmup, total, decay) for step in range(total + 2)]
    assert values[:warmup] == pytest.approx(
        [min((step + 1) / warmup, (total - step) / decay) for step in range(warmup)]
    )
    assert values[warmup : total - decay + 1] == [1.0] * (stable + 1)
    assert values[total - decay :] == pytest.approx([1 - step / decay for step in range(decay + 1)] + [0.0])


def test_a_training_that_is_shorter_than_its_decay_begins_at_the_full_rate():
    assert [warmup_stable_decay(step, 0, 4, 100) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_the_first_step_trains_and_after_the_end_nothing_does():
    assert warmup_cosine(0, 100, 1000) > 0
    assert warmup_cosine(5000, 100, 1000) == pytest.approx(0.0)


@pytest.mark.parametrize("schedule", [constant, partial(warmup_cosine, warmup=3, total=10)])
def test_step_k_is_taken_at_the_base_rate_times_schedule_of_k(schedule):
    parameter = torch.nn.Parameter(torch.zeros(1))
    configured = with_schedule(torch.optim.SGD([parameter], lr=0.5), schedule)
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    for step in range(12):
        before = parameter.item()
        parameter.grad = torch.ones(1)
        optimizer.step()
        scheduler.step()
        assert math.isclose(before - parameter.item(), 0.5 * schedule(step), abs_tol=1e-6)
