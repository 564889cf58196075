"""The small CLIP: texts are pooled at [SEP] and their order matters, training aligns texts and images, weights load."""

import math

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ldm.keyed_random import generator
from ldm.modules.text import WordPiece
from ldm.weights.checkpoint import load_weights
from textual_inversion.evaluation.clip import SmallCLIP, contrastive_loss, zoom_and_shift
from textual_inversion.evaluation.zero_shot import Question

WORDS = "[PAD] [UNK] [CLS] [SEP] a the photo of on red green blue cat dog bites".split()
CAPTIONS = ["a photo of the red cat", "a green dog", "the blue cat on the dog", "photo of a dog"]


@pytest.fixture
def tokenizer(tmp_path) -> WordPiece:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS))
    return WordPiece(path, max_length=12)


@pytest.fixture
def build(tokenizer):
    def small(**changes) -> SmallCLIP:
        torch.manual_seed(0)
        sizes = {"image_size": 16, "patch_size": 4, "image_width": 16, "image_layers": 1, "image_heads": 2}
        sizes |= {"text_width": 16, "text_layers": 1, "text_heads": 2, "projection": 8}
        return SmallCLIP(tokenizer, **sizes | changes)

    return small


def pictures(n: int = 4, side: int = 16) -> Tensor:
    return torch.rand(n, 3, side, side, generator=generator(1)) * 2 - 1


def train(clip: SmallCLIP, steps: int) -> list[float]:
    batch = {"image": pictures(), "caption": CAPTIONS}
    optimizer = torch.optim.Adam(clip.parameters(), lr=3e-3)
    clip.log = lambda *_, **__: None
    losses = []
    for _ in range(steps):
        loss = clip.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_embeddings_have_unit_length_and_take_any_side(build):
    clip = build().eval()
    for embeddings in (clip.embed_images(pictures()), clip.embed_images(pictures(side=40)), clip.embed_texts(CAPTIONS)):
        assert embeddings.shape == (4, 8)
        torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(4))


def test_a_tiny_batch_is_learned(build):
    losses = train(build(), 60)
    assert losses[0] > 1.0
    assert losses[-1] < 0.1


def test_it_learns_from_moved_pictures_too(build):
    losses = train(build(zoom=0.05, shift=0.05), 80)
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_a_sentence_is_read_off_at_its_sep(build, tokenizer):
    clip = build().eval()
    ids = tokenizer(["a green dog"])
    out = clip.model.text_model(input_ids=ids)
    place = ids[0].tolist().index(tokenizer.sep_id)
    torch.testing.assert_close(out.pooler_output[0], out.last_hidden_state[0, place])
    padded_otherwise = torch.cat([ids[:, : place + 1], torch.full_like(ids[:, place + 1 :], 7)], dim=1)
    torch.testing.assert_close(clip.model.text_model(input_ids=padded_otherwise).pooler_output, out.pooler_output)


def test_a_sentence_is_the_same_beside_longer_ones(build):
    clip = build().eval()
    torch.testing.assert_close(clip.embed_texts(CAPTIONS)[1], clip.embed_texts(["a green dog"])[0])


def test_the_order_of_words_matters(build):
    one, other = build().eval().embed_texts(["the cat bites the dog", "the dog bites the cat"])
    assert (one - other).norm() > 1e-3


def test_the_loss_is_smallest_where_pairs_meet():
    eye, hot = torch.eye(5), torch.tensor(3.0)
    assert contrastive_loss(eye, eye, hot) < contrastive_loss(eye, eye.roll(1, 0), hot)
    alike = torch.ones(5, 5) / math.sqrt(5)
    assert float(contrastive_loss(alike, alike, hot)) == pytest.approx(math.log(5))


def test_the_temperature_is_bounded():
    eye = torch.eye(3)
    a, b = (contrastive_loss(eye, eye.roll(1, 0), torch.tensor(scale)) for scale in (math.log(100.0), 50.0))
    torch.testing.assert_close(a, b)


def test_weights_survive_a_half_precision_file(build, tmp_path):
    clip = build().eval()
    path = tmp_path / "clip.safetensors"
    save_file({name: value.half() for name, value in clip.state_dict().items()}, path)
    torch.manual_seed(5)
    loaded = load_weights(build(image_width=16), path).eval()
    assert loaded.model.logit_scale.dtype == torch.float32
    torch.testing.assert_close(loaded.embed_images(pictures()), clip.embed_images(pictures()), atol=5e-3, rtol=0)
    torch.testing.assert_close(loaded.embed_texts(CAPTIONS), clip.embed_texts(CAPTIONS), atol=5e-3, rtol=0)


def test_validation_asks_and_scores_by_style(build):
    question = Question({"cat": "cat", "dog": "dog"}, ["a photo of a {}"])
    clip = build(questions={"class": question}, by="style").eval()
    logged = {}
    clip.log = lambda name, value, **_: logged.update({name: float(value)})
    labels = {"label_class": ["cat", "cat", "dog", "cat"], "label_style": ["photo", "oil", "photo", "photo"]}
    clip.on_validation_epoch_start()
    with torch.no_grad():
        clip.validation_step({"image": pictures(), "caption": CAPTIONS} | labels, 0)
    assert set(logged) == {"val/loss", "val/class", "val/class_photo", "val/class_oil"}
    assert logged["val/class"] == pytest.approx((3 * logged["val/class_photo"] + logged["val/class_oil"]) / 4)


def test_no_zoom_and_no_shift_leave_pictures_alone():
    torch.testing.assert_close(zoom_and_shift(pictures(), 0.0, 0.0, generator(0)), pictures(), atol=1e-5, rtol=0)


def test_pictures_move_each_on_its_own():
    x = pictures(1).expand(6, -1, -1, -1)
    moved = zoom_and_shift(x, 0.1, 0.1, generator(0))
    assert moved.shape == x.shape and moved.abs().max() <= 1.0 + 1e-5
    assert all((moved[i] - moved[0]).abs().max() > 0.01 for i in range(1, 6))
