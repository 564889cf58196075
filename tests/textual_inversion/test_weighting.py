import pytest
import torch

from ldm.errors import UserError
from textual_inversion.embedding_manager import EmbeddingManager
from textual_inversion.prompts import encode_prompts
from textual_inversion.weighting import escape, parse, plain


@pytest.fixture
def text(build_text_encoder):
    return build_text_encoder().eval().requires_grad_(False)


@pytest.fixture
def embeddings(text):
    rng = torch.Generator().manual_seed(0)
    words = {name: torch.randn(k, text.width, generator=rng) for name, k in {"S*": 2, "[V]": 1, ":)": 1}.items()}
    return EmbeddingManager(text.tokenizer, words)


def spans(prompt, embeddings=None):
    return [(span.text, round(span.weight, 4)) for span in parse(prompt, embeddings)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat", [("a cat", 1)]),
        ("", []),
        ("a (red:1.3) cat", [("a ", 1), ("red", 1.3), (" cat", 1)]),
        ("a (red : .5 ) cat", [("a ", 1), ("red ", 0.5), (" cat", 1)]),
        ("a (red) cat", [("a ", 1), ("red", 1.1), (" cat", 1)]),
        ("a ((red)) cat", [("a ", 1), ("red", 1.21), (" cat", 1)]),
        ("a [red] cat", [("a ", 1), ("red", 0.9091), (" cat", 1)]),
        ("(a (red:1.2) cat:1.5)", [("a ", 1.5), ("red", 1.8), (" cat", 1.5)]),
        ("a (red:1) cat", [("a red cat", 1)]),
        (r"a \(red\) \[cat\] \\ x", [(r"a (red) [cat] \ x", 1)]),
        (r"c\a", [(r"c\a", 1)]),
        ("a (cat: sitting)", [("a ", 1), ("cat: sitting", 1.1)]),
        ("sun(ny:0.5)day", [("sun", 1), ("ny", 0.5), ("day", 1)]),
        ("猫(犬:1.5)。", [("猫", 1), ("犬", 1.5), ("。", 1)]),
        ("a () cat", [("a  cat", 1)]),
    ],
)
def test_a_prompt_is_split_as_in_the_web_ui(prompt, expected):
    assert spans(prompt) == expected


def test_placeholders_are_whole_whatever_symbols_they_hold(embeddings):
    assert spans("a ([V]:1.5) by S*", embeddings) == [("a ", 1), ("[V]", 1.5), (" by S*", 1)]
    assert spans("[V] and (S*) :)", embeddings) == [("[V] and ", 1), ("S*", 1.1), (" :)", 1)]


@pytest.mark.parametrize(
    ("prompt", "what"),
    [
        ("a (cat", r"the ( in the prompt 'a (cat' has no counterpart: add it, or write \( for a plain one"),
        ("a cat :)", "the ) in the prompt"),
        ("a [cat)", "the ) in the prompt"),
        ("a ]cat[", "the ] in the prompt"),
        ("[cat:dog:0.5]", "changes during sampling"),
        ("[cat|dog]", "changes during sampling"),
        ("a (cat:1,5)", "the weight '1,5' in the prompt 'a (cat:1,5)' is no number"),
        ("a (cat:-1)", "'cat' has weight -1 in the prompt 'a (cat:-1)': use 0 to 2"),
        ("((cat:1.9):1.9)", "'cat' has weight 3.61"),
        ("in the ratio (16:9)", "'16' has weight 9"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(prompt, what):
    with pytest.raises(UserError) as caught:
        parse(prompt)
    assert what in str(caught.value)


@pytest.mark.parametrize("prompt", ["a (cat) [x] \\ :1.3)", "", "plain"])
def test_an_escaped_text_is_itself(prompt):
    spans = parse(escape(prompt))
    assert plain(spans) == prompt and {span.weight for span in spans} <= {1.0}


def test_weight_1_changes_nothing_and_0_is_the_prompt_without_the_text(text, embeddings):
    def c(prompt):
        return encode_prompts(text, [prompt], embeddings)

    assert torch.equal(c("a photo of (S*:1) on the (moon:1.0)"), embeddings.encode(text, ["a photo of S* on the moon"]))
    assert torch.equal(c("a photo of S* (on the moon:0)"), embeddings.encode(text, ["a photo of S*"]))
    assert torch.equal(c("a (red:0) cat"), embeddings.encode(text, ["a cat"]))
    assert torch.equal(c("a (red:0) (S*:0) cat"), embeddings.encode(text, ["a cat"]))


@pytest.mark.parametrize(
    ("before", "weighed", "after"),
    [("a ", "red striped", " cat"), ("", "S*", " on the moon"), ("a cat", " on the moon", ""), ("", "a cat", ""),
     ("a b c d e f g h i j k ", "S*", " l m n o p q")],
)  # fmt: skip
def test_c_is_a_straight_line_through_the_prompt_without_and_with_the_text(text, embeddings, before, weighed, after):
    """Cross-attention does not see the order of rows, so c near weight 0 has the rows of c at 0 in another order."""

    def c(w):
        return encode_prompts(text, [f"{before}({weighed}:{w}){after}"], embeddings)[0]

    near_0 = c(1e-6)
    assert torch.allclose(near_0.sort(dim=0).values, c(0).sort(dim=0).values, atol=1e-4)
    for w in (0.5, 1.5):
        torch.testing.assert_close(c(w), near_0 + w * (c(1) - near_0), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(c(1.5), c(1), atol=1e-3)


def test_prompts_of_a_batch_do_not_touch_each_other(text, embeddings):
    prompts = ["a photo of S*", "a (red:1.5) cat", "a (S*:0.5) [V]"]
    together = encode_prompts(text, prompts, embeddings)
    for prompt, c in zip(prompts, together, strict=True):
        torch.testing.assert_close(encode_prompts(text, [prompt], embeddings)[0], c)


def test_captions_for_learning_are_taken_as_they_are(inversion, concept):
    learner = inversion(concept("S*", templates=("a (dark:1.5) photo of [{}]",)))
    learner.on_fit_start()
    ids = learner.draw(0)["ids"][0]
    tokenizer = learner.ldm.text_encoder.tokenizer
    before, after = tokenizer.pieces("a (dark:1.5) photo of ["), tokenizer.pieces("]")
    assert ids.tolist() == tokenizer.frame([*before, tokenizer.vocab_size, *after])
