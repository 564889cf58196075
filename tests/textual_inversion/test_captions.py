from collections import Counter

import pytest

from ldm.keyed_random import generator
from textual_inversion.captions import fill, pick
from textual_inversion.setups import PerImage


def test_the_placeholder_takes_the_slot_and_its_own_braces_stay():
    assert fill("a photo of my {}.", "S*") == "a photo of my S*."
    assert fill("a photo of {}", "<{}>") == "a photo of <{}>"
    assert fill("a {photo} of {}", "S*") == "a {photo} of S*"


def test_a_template_without_a_slot_is_refused():
    with pytest.raises(ValueError, match=r"'a photo' has no \{\}"):
        fill("a photo", "S*")


def test_every_template_is_drawn_in_proportion_to_how_often_it_is_there():
    rng = generator(0)
    counts = Counter(pick(("a {}", "a {}", "the {}", "my {}"), rng) for _ in range(2000))
    assert set(counts) == {"a {}", "the {}", "my {}"}
    assert counts["a {}"] == pytest.approx(1000, abs=100)
    assert counts["my {}"] == pytest.approx(500, abs=80)


def test_the_generator_alone_decides():
    templates = [f"{i} {{}}" for i in range(50)]
    first, again = ([pick(templates, generator(1, step)) for step in range(9)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 4


def test_a_share_of_the_captions_has_the_picture_s_own_word_behind_the_placeholder():
    setup = PerImage(("a photo of {} with {}",), share=0.25)
    counts = Counter(setup.caption("S*", ("a {}",), 3, generator(2, i)) for i in range(1000))
    assert set(counts) == {"a S*", "a photo of S* with S*-3"}
    assert counts["a S*"] == pytest.approx(750, abs=60)
