"""Blended edits change only the pixels under the mask."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from ldm.images import to_tensor
from ldm.sampling import Sampler, conditioned, ddim, ddim_timesteps, dpm_solver
from ldm.schedule import q_sample
from ldm.weights.fingerprint import weights_hash
from textual_inversion.background import feather, fit_decoder, psnr_under
from textual_inversion.blended import blended, edit
from textual_inversion.evaluation.subjects import Pipeline
from textual_inversion.generation import manager_of
from textual_inversion.words.file import LearnedWord

PROMPTS = ["a photo of S*", "an oil painting of S* on the moon"]


@pytest.fixture
def pipeline(tiny_ldm):
    return Pipeline(tiny_ldm, Sampler(4), guidance=3.0)


@pytest.fixture
def embeddings(tiny_ldm):
    return manager_of(tiny_ldm, [LearnedWord("S*", torch.randn(1, 16, generator=torch.Generator().manual_seed(0)))])


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.fixture
def mask():
    """An irregular mask whose edge is not aligned with the latents."""
    mask = np.zeros((16, 16), dtype=bool)
    mask[3:10, 5:12] = True
    return mask


def test_outside_the_mask_the_pixels_are_the_images_own_and_inside_they_are_new(pipeline, embeddings, image, mask):
    x, edits = to_tensor(image[None])[0], edit(pipeline, PROMPTS, embeddings, image, mask)
    assert edits.shape == (2, 3, 16, 16) and edits.abs().max() <= 1
    for generated in edits:
        changed = (generated != x).any(dim=0).numpy()
        assert not changed[~mask].any()
        assert changed[mask].all()


def test_each_prompt_generates_its_own_and_so_does_each_word(pipeline, embeddings, image, mask, tiny_ldm):
    same_noise = (
        edit(pipeline, PROMPTS[:1], embeddings, image, mask),
        edit(pipeline, PROMPTS[1:], embeddings, image, mask),
    )
    assert not torch.allclose(*same_noise, atol=1e-2)
    other = manager_of(tiny_ldm, [LearnedWord("S*", -embeddings.vectors[0])])
    assert not torch.allclose(edit(pipeline, PROMPTS[:1], other, image, mask), same_noise[0], atol=1e-3)


def test_an_edit_does_not_depend_on_what_it_is_generated_with(pipeline, embeddings, image, mask):
    both = edit(pipeline, PROMPTS, embeddings, image, mask)
    torch.testing.assert_close(edit(pipeline, PROMPTS[:1], embeddings, image, mask), both[:1], atol=1e-5, rtol=0)


def test_another_sampler_is_refused(pipeline, embeddings, image, mask):
    solver = replace(pipeline, sampler=Sampler(4, solve=dpm_solver))
    with pytest.raises(ValueError, match="not dpm_solver: use sampler=ddim"):
        edit(solver, PROMPTS, embeddings, image, mask)


def test_an_empty_mask_leaves_the_image_as_it_is(pipeline, embeddings, image, mask):
    untouched = edit(pipeline, PROMPTS, embeddings, image, np.zeros_like(mask))
    assert torch.equal(untouched, to_tensor(image[None]).expand(2, -1, -1, -1))


def test_what_is_masked_in_part_is_generated_anew_whole_and_then_cut_out(pipeline, embeddings, image, mask):
    whole = np.zeros_like(mask)
    whole[2:10, 4:12] = True  # the latents that the mask touches
    within, around = (edit(pipeline, PROMPTS, embeddings, image, area) for area in (mask, whole))
    core = np.zeros_like(mask)
    core[4:9, 6:11] = True  # inside of both ramps
    assert torch.equal(within[:, :, core], around[:, :, core])
    assert not torch.equal(within[:, :, mask], around[:, :, mask])


def test_a_decoder_that_is_tuned_on_the_image_comes_close_to_it_and_leaves_the_model_as_it_was(
    pipeline, embeddings, image, mask, tiny_ldm
):
    x, before = to_tensor(image[None]), weights_hash(tiny_ldm)
    given = (pipeline, PROMPTS, embeddings, image, mask)
    outside = torch.from_numpy(~mask)[None, None].float()
    plain = edit(*given, lambda ldm, z_0, x, mask: ldm.decode_first_stage(z_0))
    tuned = edit(*given, partial(fit_decoder, steps=60, learning_rate=3e-3))
    assert tuned.abs().max() <= 1 and not tuned.requires_grad
    assert (psnr_under(tuned, x, outside) > psnr_under(plain, x, outside) + 3.0).all()
    inside, pasted = 1.0 - outside, edit(*given)
    for number in range(2):
        found, other = (psnr_under(y[number : number + 1], pasted[number : number + 1], inside) for y in (tuned, plain))
        assert found > other  # inside it follows the edit whose edge is blended
    assert weights_hash(tiny_ldm) == before
    alone = edit(pipeline, PROMPTS[:1], *given[2:], partial(fit_decoder, steps=3, learning_rate=3e-3))
    both = edit(*given, partial(fit_decoder, steps=3, learning_rate=3e-3))
    torch.testing.assert_close(alone, both[:1], atol=1e-3, rtol=0)


def test_the_psnr_is_that_of_the_pixels_under_the_mask():
    x, y, mask = torch.zeros(1, 3, 2, 2), torch.zeros(2, 3, 2, 2), torch.zeros(1, 1, 2, 2)
    mask[..., 0, :] = 1
    y[0, :, 0], y[0, :, 1], y[1, :, 0, 0] = 0.2, 0.9, 0.2
    # 10 log10(2^2 / 0.2^2), and half of the error
    torch.testing.assert_close(psnr_under(y, x, mask), torch.tensor([20.0, 23.0103]))


def test_the_edge_is_a_ramp_within_the_mask():
    mask = torch.zeros(1, 1, 1, 9)
    mask[..., 2:] = 1
    assert feather(mask, 4).squeeze().tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert torch.equal(feather(mask, 1), mask)


def test_what_is_generated_knows_what_is_around_it(pipeline, embeddings, image, mask):
    other = np.where(mask[..., None], image, 255 - image)
    one, another = (edit(pipeline, PROMPTS, embeddings, around, mask) for around in (image, other))
    assert (one[:, :, mask] - another[:, :, mask]).abs().max() > 1e-3


def latents(tiny_ldm, embeddings):
    rng = torch.Generator().manual_seed(1)
    z_T, z_init = torch.randn(2, 2, 4, 8, 8, generator=rng)
    eps = conditioned(tiny_ldm.eps, embeddings.encode(tiny_ldm.cond_stage_model, PROMPTS).detach())
    return eps, z_T, z_init, tiny_ldm.alpha_bar, ddim_timesteps(5, 1000)


def test_under_a_mask_of_everything_it_is_ddim(tiny_ldm, embeddings):
    eps, z_T, z_init, alpha_bar, timesteps = latents(tiny_ldm, embeddings)
    generated = blended(eps, z_T, z_init, torch.ones(8, 8), alpha_bar, timesteps)
    torch.testing.assert_close(generated, ddim(eps, z_T, alpha_bar, timesteps))


def test_outside_the_mask_the_latents_end_as_the_images_own_at_the_last_alpha_bar(tiny_ldm, embeddings):
    eps, z_T, z_init, alpha_bar, timesteps = latents(tiny_ldm, embeddings)
    mask = torch.zeros(8, 8)
    mask[2:5, 1:7] = 1
    generated = blended(eps, z_T, z_init, mask, alpha_bar, timesteps)
    own = q_sample(z_init, z_T, alpha_bar[:1].expand(2))
    torch.testing.assert_close(generated[:, :, mask == 0], own[:, :, mask == 0])
    assert not torch.allclose(generated[:, :, mask == 1], own[:, :, mask == 1], atol=0.1)
