"""Captions: the vocabulary, the text encoders, and diffusion that listens to them."""

from __future__ import annotations

import copy
import pickle
import sys
import warnings

import numpy as np
import pytest
import torch

from evogen.models import load_model
from evogen.models.layers import initialize
from evogen.models.text import (
    PADDING,
    UNKNOWN,
    TextEncoder,
    WordVocabulary,
    as_captions,
    split_words,
)
from evogen.models.text_diffusion import TextDDPM


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Words.


def test_captions_are_split_into_words_and_marks():
    assert split_words("A small, red Seven!") == ["a", "small", ",", "red", "seven", "!"]
    assert split_words("größe 8×8") == ["größe", "8", "×", "8"]
    assert split_words("  ") == []


def test_words_become_numbers_and_numbers_words():
    vocabulary = WordVocabulary.from_captions(["a small seven", "a large three"])
    assert vocabulary.words == ("a", "large", "seven", "small", "three")
    assert len(vocabulary) == 7
    tokens = vocabulary.encode(["A large seven", "seven", ""])
    assert tokens.tolist() == [[2, 3, 4], [4, PADDING, PADDING], [PADDING] * 3]
    assert vocabulary.decode(tokens) == ["a large seven", "seven", ""]
    assert vocabulary.encode(["a"], 4).shape == (1, 4)


def test_unknown_words_are_named_with_the_nearest_known_one():
    vocabulary = WordVocabulary.from_captions(["a small seven"])
    with pytest.warns(UserWarning, match="unknown word 'sevn'.*did you mean 'seven'"):
        tokens = vocabulary.encode(["a sevn"])
    assert tokens.tolist() == [[2, UNKNOWN]]
    assert vocabulary.decode(tokens) == ["a ?"]


def test_rare_words_are_left_out():
    vocabulary = WordVocabulary.from_captions(["a b", "a c", "a b"], min_count=2)
    assert vocabulary.words == ("a", "b")


def test_captions_that_are_too_long_are_refused():
    with pytest.raises(ValueError, match="at most 2 words; one has 3"):
        WordVocabulary(("a",)).encode(["a a a"], 2)


@pytest.mark.parametrize("words", [(), ("a",), ("a", "größe", "×")])
def test_a_vocabulary_survives_as_bytes(words):
    vocabulary = WordVocabulary(words)
    data = vocabulary.to_bytes()
    assert data.dtype == torch.uint8
    assert len(data) >= 1
    assert WordVocabulary.from_bytes(data) == vocabulary


@pytest.mark.parametrize("text", [b"b\na\n", b"a\na\n", b"two words\n", b"\xff\xfe"])
def test_bytes_that_are_no_vocabulary_are_refused(text):
    with pytest.raises(ValueError, match=r"vocabulary|utf-8"):
        WordVocabulary.from_bytes(torch.tensor(list(text), dtype=torch.uint8))


def test_only_texts_are_captions():
    assert as_captions("c", "one") == ["one"]
    assert as_captions("c", np.array(["a", "b"])) == ["a", "b"]
    for wrong in ([1, 2], 3, torch.zeros(2, 2), ["a", None]):
        with pytest.raises(TypeError, match="c must be captions, one text per item"):
            as_captions("c", wrong)


# The encoder.


@pytest.fixture
def encoder() -> TextEncoder:
    made = TextEncoder(9, 5, 16, n_layers=2)
    initialize(made, generator())
    return made


def test_padding_changes_no_word(encoder):
    short = torch.tensor([[3, 4, 0, 0, 0]])
    vectors, there = encoder(short)
    assert there.tolist() == [[True, True, False, False, False]]
    # Whatever stands in places that are not looked at.
    encoder.words.weight.data[PADDING] += 5
    assert torch.equal(encoder(short)[0][:, :2], vectors[:, :2])


def test_order_matters_and_captions_do_not_see_one_another(encoder):
    tokens = torch.tensor([[3, 4, 5, 0, 0], [4, 3, 5, 0, 0]])
    vectors, _ = encoder(tokens)
    assert not torch.allclose(vectors[0, 2], vectors[1, 2], atol=1e-3)
    assert torch.allclose(encoder(tokens[:1])[0], vectors[:1], atol=1e-6)


def test_an_empty_caption_and_an_unknown_word_are_numbers(encoder):
    vectors, there = encoder(torch.tensor([[0, 0, 0, 0, 0], [UNKNOWN, 0, 0, 0, 0]]))
    assert torch.isfinite(vectors).all()
    assert there.sum(1).tolist() == [0, 1]
    encoder.words.weight.data[UNKNOWN] += 5
    again, _ = encoder(torch.tensor([[0, 0, 0, 0, 0], [UNKNOWN, 0, 0, 0, 0]]))
    assert torch.equal(again, vectors), "an unknown word has no meaning"


# Diffusion.

CAPTIONS = ["a dark square", "a bright square"] * 10


@pytest.fixture
def squares() -> torch.Tensor:
    level = torch.tensor([0.2, 0.8] * 10)[:, None, None, None]
    return (level + 0.02 * torch.randn(20, 1, 4, 4, generator=generator())).clamp(0, 1)


SMALL = {
    "n_steps": 3,
    "batch_size": 16,
    "n_sample_steps": 2,
    "channels": (8,),
    "hidden": (16,),
    "text_dim": 8,
}


@pytest.mark.parametrize("as_vectors", [False, True])
def test_captions_choose_what_is_drawn(squares, as_vectors):
    x = squares.flatten(1) if as_vectors else squares
    model = TextDDPM(**{**SMALL, "n_steps": 120, "lr": 1e-2, "n_sample_steps": 5, "hidden": (32,)})
    model.fit(x, CAPTIONS)
    dark, bright = (model.sample(30, text).mean() for text in ("a dark square", "a bright square"))
    assert float(dark) == pytest.approx(0.2, abs=0.1)
    assert float(bright) == pytest.approx(0.8, abs=0.1)
    mixed = model.sample(2, ["a bright square", "a dark square"]).flatten(1).mean(1)
    assert mixed[0] > mixed[1] + 0.3


def test_vectors_may_be_looked_at_as_pictures(squares):
    x = squares.flatten(1)
    for captions in (None, CAPTIONS):
        model = TextDDPM(**SMALL, picture_shape=(1, 4, 4), n_octaves=1).fit(x, captions)
        assert model.sample(3).shape == (3, 16)
        assert any("conv" in name for name in model.state_tensors()), "a U-Net"
    with pytest.raises(ValueError, match=r"\(1, 4, 4\) needs vectors of 16 numbers; got 5"):
        TextDDPM(picture_shape=(1, 4, 4)).fit(x[:, :5])


def test_no_caption_an_empty_one_and_guidance_zero_are_the_same(squares):
    model = TextDDPM(**SMALL).fit(squares, CAPTIONS)
    x = torch.randn(4, 16, generator=generator())
    nothing = model.predict(x, 500, None)[1]
    empty = model.prepare_condition("", 4)
    assert torch.equal(model.predict(x, 500, empty)[1], nothing)
    said = model.prepare_condition("a dark square", 4)
    model.guidance = 0.0
    assert torch.equal(model.predict(x, 500, said)[1], nothing)


@pytest.mark.parametrize("normalize", [True, False])
def test_saved_models_know_their_words_and_learn_on(squares, tmp_path, normalize):
    model = TextDDPM(**SMALL, normalize=normalize).fit(squares, CAPTIONS)
    model.save(tmp_path / "m")
    twin = load_model(tmp_path / "m")
    assert twin.words_ == model.words_
    for copied in (twin, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        original = copy.deepcopy(model)
        a, b = (m.sample(3, "a bright square") for m in (original, copied))
        assert torch.equal(a, b)
        a, b = (m.fit(squares, CAPTIONS).sample(3, "a dark square") for m in (original, copied))
        assert torch.equal(a, b)


def test_the_vocabulary_is_of_the_first_fit(squares):
    model = TextDDPM(**SMALL, caption_length=4).fit(squares, CAPTIONS)
    words = model.words_
    with pytest.warns(UserWarning, match="unknown word 'green'"):
        model.fit(squares, ["a green square"] * 20)
    assert model.words_ == words
    with pytest.raises(ValueError, match="at most 4 words; one has 5"):
        model.sample(1, "a very very dark square")
    with pytest.raises(TypeError, match="must be captions"):
        model.sample(1, np.zeros((1, 4)))
    with pytest.raises(ValueError, match="must have 3 rows, or one for all; got 2"):
        model.sample(3, ["a", "a"])
    model.reset()
    assert model.words_ is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(squares, ["a green square"] * 20).sample(1, "green")


@pytest.mark.parametrize("captions", [["a"] * 3, [1] * 20, np.zeros((20, 2))])
def test_wrong_captions_are_refused_before_work(squares, captions):
    model = TextDDPM(**SMALL)
    with pytest.raises((ValueError, TypeError), match=r"as many rows as x|must be captions"):
        model.fit(squares, captions)
    assert model.n_features_ is None
    model.fit(squares, CAPTIONS)


def test_one_item_and_one_without_words_work(squares):
    model = TextDDPM(**SMALL).fit(squares[:1], [""])
    assert torch.isfinite(model.sample(2, "")).all()
    assert model.sample(0, "").shape == (0, 1, 4, 4)


def test_clip_needs_transformers_and_says_so(squares, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"transformers; pip install evogen\[clip\]"):
        TextDDPM(**SMALL, text_encoder="clip").fit(squares, CAPTIONS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text_encoder": "bert"}, "text_encoder must be one of 'own', 'clip'"),
        ({"text_dim": 6}, "text_dim must be a multiple of 4"),
        ({"caption_length": 0}, "caption_length must be at least 1"),
        ({"picture_shape": (4, 4)}, r"picture_shape must be \(c, h, w\)"),
    ],
)
def test_wrong_parameters_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        TextDDPM(**wrong)
