"""A1111 Prompt: chunks, embeddings, emphasis and the schedule that a CONDITIONING carries."""

import numpy as np
import pytest
import torch

from tests.unit.nodes.clip import COMMA, END, START, LetterClip

SDXL = {"keys": ("l", "g"), "widths": (768, 1280)}


@pytest.fixture
def encoder(pack):
    return lambda clip, names=(): pack.prompt_encoding.Encoder(clip, names)


def chunks_of(clip):
    """The chunks that the text encoder read last, without start, end and padding."""
    return [[t for t, _ in chunk[1:-1] if not (isinstance(t, int) and t == END)] for chunk in clip.read[-1]["l"]]


def letters(text):
    return [COMMA if c == "," else ord(c) for c in text]


def test_chunks_hold_seventy_five_tokens_between_start_and_end(encoder):
    clip = LetterClip()
    encoder(clip).encode({"x" * 80: 1})
    assert [len(chunk) for chunk in chunks_of(clip)] == [75, 5]
    assert all(chunk[0][0] == START and chunk[76][0] == END for chunk in clip.read[-1]["l"])


@pytest.mark.parametrize(("before", "after", "expected"), [(60, 30, [61, 30]), (55, 30, [56, 30]), (54, 30, [75, 10])])
def test_what_follows_a_comma_moves_on_whole_up_to_twenty_tokens(encoder, before, after, expected):
    clip = LetterClip()
    encoder(clip).encode({"x" * before + "," + "y" * after: 1})
    assert [len(chunk) for chunk in chunks_of(clip)] == expected


def test_a_comma_that_comes_first_in_the_next_chunk_moves_nothing(encoder):
    clip = LetterClip()
    encoder(clip).encode({"x" * 70 + "," + "y" * 4 + "," + "z" * 3: 1})
    assert [len(chunk) for chunk in chunks_of(clip)] == [75, 4]


def test_break_closes_the_chunk(encoder):
    clip = LetterClip()
    encoder(clip).encode({"ab BREAK cd": 1})
    assert chunks_of(clip) == [letters("ab"), letters("cd")]


def test_comfyui_s_own_syntax_is_plain_text(encoder):
    clip = LetterClip(embeddings={"bad": {"l": torch.ones(1, 768)}})
    encoder(clip).encode({"a embedding:bad \\(b:2\\)": 1})
    assert chunks_of(clip) == [letters("aembedding:bad(b:2)")]


def test_typographic_characters_are_read_as_plain_ones(encoder):
    clip = LetterClip()
    encoder(clip).encode({"it’s “a” ﬁ ＡＢ（c）": 1})
    assert chunks_of(clip) == [letters('it\'s"a"fiAB(c)')]


@pytest.mark.parametrize("spelling", ["<|endoftext|>", "<|EndOfText|>"])
def test_the_end_of_text_that_is_spelled_out_is_that_token_and_what_follows_still_counts(encoder, spelling):
    clip = LetterClip()
    encoder(clip).encode({f"ab{spelling} (cd:1.2){spelling}e": 1})
    tokens = [token for token, _ in clip.read[-1]["l"][0]]
    assert tokens[:9] == [START, *letters("ab"), END, *letters("cd"), END, *letters("e"), END]


def test_an_embedding_is_found_by_its_bare_name_anywhere(encoder):
    vectors = {"bad.pt": {"l": torch.arange(2.0)[:, None].expand(2, 768)}}
    clip = LetterClip(embeddings=vectors)
    encoder(clip, ["bad.pt", "ba.pt"]).encode({"x(bad:1.2)y": 1})
    (chunk,) = chunks_of(clip)
    assert (chunk[0], chunk[3]) == (ord("x"), ord("y"))
    assert torch.equal(torch.stack(chunk[1:3]), vectors["bad.pt"]["l"])


def test_an_embedding_is_never_parted(encoder):
    clip = LetterClip(embeddings={"bad.pt": {"l": torch.ones(4, 768)}})
    encoder(clip, ["bad.pt"]).encode({"x" * 73 + "bad": 1})
    assert [len(chunk) for chunk in chunks_of(clip)] == [73, 4]


def test_an_embedding_of_another_family_is_plain_text(encoder):
    clip = LetterClip(**SDXL, embeddings={"bad.pt": {"l": torch.ones(4, 768), "g": torch.ones(0, 1280)}})
    encoder(clip, ["bad.pt"]).encode({"bad": 1})
    assert chunks_of(clip) == [letters("bad")]


def test_each_encoder_is_padded_in_its_own_way(encoder):
    clip = LetterClip(**SDXL)
    encoder(clip).encode({"ab": 1})
    assert [t for t, _ in clip.read[-1]["l"][0][3:]] == [END] * 74
    assert [t for t, _ in clip.read[-1]["g"][0][3:]] == [END] + [0] * 73


def restated(states, weights, widths):
    """ "Original" emphasis in plain numpy: multiply, restore the mean, for each chunk and encoder."""
    result = states.copy()
    for start in range(0, states.shape[1], 77):
        left = 0
        for width in widths:
            part = states[:, start : start + 77, left : left + width]
            weighed = part * weights[:, start : start + 77, None]
            result[:, start : start + 77, left : left + width] = weighed * (part.mean() / weighed.mean())
            left += width
    return result


@pytest.mark.parametrize("shape", [{}, SDXL])
def test_emphasis_multiplies_and_restores_the_mean_of_each_chunk_and_encoder(encoder, shape):
    clip = LetterClip(**shape)
    text = "ab(cd:1.5)[e]" + "x" * 75 + "(y:0.3)"
    (answer,) = encoder(clip).encode({text: 1}).values()
    plain, _ = clip.encode_from_tokens(clip.read[-1], return_pooled=True)
    weights = np.ones((1, 154))
    weights[0, 3:5], weights[0, 5], weights[0, 77 + 6] = 1.5, 1 / 1.1, 0.3
    expected = restated(plain.double().numpy(), weights, shape.get("widths", (768,)))
    assert np.allclose(answer.states.numpy(), expected, rtol=1e-5)


def test_states_without_a_mean_are_only_multiplied(pack):
    states = torch.randn((1, 77, 8), generator=torch.Generator().manual_seed(1))
    states = states - states.mean(-1, keepdim=True)
    weights = torch.ones(1, 77, 1)
    weights[:, 3:6] = 1.4
    (answer,) = pack.prompt_encoding.emphasize([states], [weights], [8], [1])
    assert torch.allclose(answer, states * weights)


def test_a_prompt_without_emphasis_keeps_its_exact_states(encoder):
    clip = LetterClip()
    (answer,) = encoder(clip).encode({"a plain one": 1}).values()
    assert torch.equal(answer.states, clip.encode_from_tokens(clip.read[-1], return_pooled=True)[0])


def test_the_mean_is_that_of_all_turns_and_each_text_is_read_once(encoder):
    clip = LetterClip()
    turns = {"a(b:1.5)": 3, "zz(z:0.5)": 1}
    answers = encoder(clip).encode(turns)
    assert len(clip.read) == 2
    plain = [clip.encode_from_tokens(tokens, return_pooled=True)[0].double().numpy() for tokens in clip.read[:2]]
    weights = np.ones((2, 77))
    weights[0, 2], weights[1, 3] = 1.5, 0.5
    batch, each = np.repeat(np.concatenate(plain), (3, 1), axis=0), np.repeat(weights, (3, 1), axis=0)
    weighed = batch * each[..., None]
    expected = weighed * (batch.mean() / weighed.mean())
    assert np.allclose(answers["a(b:1.5)"].states.numpy(), expected[:1], rtol=1e-5)
    assert np.allclose(answers["zz(z:0.5)"].states.numpy(), expected[3:], rtol=1e-5)


def test_texts_that_take_turns_have_equally_many_chunks(encoder):
    clip = LetterClip()
    short, long = encoder(clip).encode({"a": 1, "x" * 80: 1}).values()
    assert short.states.shape == long.states.shape == (1, 154, 768)


def test_another_model_s_clip_is_refused_by_name(encoder):
    with pytest.raises(ValueError, match="t5xxl"):
        encoder(LetterClip(("l", "t5xxl"), (768, 4096)))


@pytest.fixture
def encode(pack, monkeypatch):
    monkeypatch.setattr("folder_paths.get_filename_list", lambda kind: [], raising=False)

    def run(text, kind="positive", steps=10, clip=None):
        (conditioning,) = pack.NODE_CLASS_MAPPINGS["A1111Prompt"]().encode(clip or LetterClip(), text, kind, steps)
        return conditioning

    return run


def turns(conditioning):
    return [extras["a1111_turn"] for _, extras in conditioning]


def test_a_plain_prompt_is_one_entry_for_every_call(encode):
    (turn,) = turns(encode("a cat"))
    assert (turn.part, turn.weight, turn.calls) == (0, 1.0, {1: ((0, 10),), 2: ((0, 20),)})


def test_an_edited_prompt_turns_at_its_step_and_for_second_order_samplers_at_twice_that(encode):
    cat, dog = turns(encode("[cat:dog:0.5]", steps=25))
    assert cat.calls == {1: ((0, 12),), 2: ((0, 25),)}
    assert dog.calls == {1: ((13, 25),), 2: ((26, 50),)}


def test_a_step_number_is_the_same_call_for_every_sampler(encode):
    cat, _ = turns(encode("[cat:dog:4]"))
    assert cat.calls == {1: ((0, 4),), 2: ((0, 4),)}


def test_alternation_has_one_entry_for_each_text(encode):
    a, b = turns(encode("[a|b]", steps=4))
    assert a.calls[1] == ((0, 1), (3, 3))
    assert b.calls[1] == ((2, 2), (4, 4))


def test_and_gives_parts_with_weights(encode):
    assert [(turn.part, turn.weight) for turn in turns(encode("a :1.2 AND b"))] == [(0, 1.2), (1, 1.0)]


@pytest.mark.parametrize("shape", [{}, SDXL])
def test_a_shorter_part_repeats_its_last_vector_up_to_the_longest_s_length(encode, shape):
    short, long = encode("a AND " + "x" * 160, clip=LetterClip(**shape))
    (alone,) = encode("a ", clip=LetterClip(**shape))
    assert short[0].shape == long[0].shape
    assert torch.equal(short[0][:, :77], alone[0])
    assert torch.equal(short[0][:, 77:], alone[0][:, -1:].expand(-1, 154, -1))
    assert torch.equal(short[1]["pooled_output"], alone[1]["pooled_output"])


@pytest.mark.parametrize(
    "text",
    [
        "a AND " * 600,
        "[" + "|".join("abcdefghijklmnopqrstuvwxyz" * 3) + "]" + "x" * 2000,
        " AND ".join(["[a|b]"] * 300),
        "BREAK " * 513,
        "x" * 76 + " AND a" * 300,
    ],
)
def test_a_prompt_that_stands_for_too_much_text_is_refused_before_any_is_encoded(encode, pack, text):
    clip = LetterClip()
    with pytest.raises(pack.prompt.TooLong, match="512 chunks"):
        encode(text, steps=150, clip=clip)
    assert not clip.read


def test_comments_are_left_out(encode):
    clip = LetterClip()
    encode("a # red, AND\nb#\n# [c|d]", clip=clip)
    assert chunks_of(clip) == [letters("ab")]
    assert not encode("# nothing", "negative", clip=LetterClip(**SDXL))[0][0].any()


def test_and_is_text_in_a_negative_prompt(encode):
    assert [turn.part for turn in turns(encode("a AND b:2", "negative"))] == [0]


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_negative_prompt_is_zeros_on_sdxl_alone(encode, text):
    ((states, extras),) = encode(text, "negative", clip=LetterClip(**SDXL))
    assert states.shape == (1, 77, 2048)
    assert not states.any()
    assert not extras["pooled_output"].any()
    assert encode(text, "negative")[0][0].any()
    assert encode(text, "positive", clip=LetterClip(**SDXL))[0][0].any()
