"""A1111's prompt grammar, prompt by prompt: what its published rules give, and that no text breaks the readers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

STEPS = 10
SCHEDULES = {
    # text → (last step, text) in turn, over ten steps
    "": [(10, "")],
    "test": [(10, "test")],
    "a [b:3]": [(3, "a "), (10, "a b")],
    "a [b: 3]": [(3, "a "), (10, "a b")],
    "a [b:3 ]": [(3, "a "), (10, "a b")],
    "a [b::3]": [(3, "a b"), (10, "a ")],
    "a [:b:3]": [(3, "a "), (10, "a b")],
    "a [:3]": [(3, "a "), (10, "a ")],
    "[cat:dog:0.5]": [(5, "cat"), (10, "dog")],
    "[cat:dog:.25]": [(2, "cat"), (10, "dog")],
    "[cat:dog:1.0]": [(10, "cat")],
    "[cat:dog:1]": [(1, "cat"), (10, "dog")],
    "[cat:dog:0]": [(10, "dog")],
    "[cat:dog:0.01]": [(10, "dog")],
    "[cat:dog:-1]": [(10, "dog")],
    "[cat:dog:30]": [(10, "cat")],
    "[cat:dog:1e9999]": [(10, "cat")],
    "a [[[b]]:2]": [(2, "a "), (10, "a [[b]]")],
    "[(a:2):3]": [(3, ""), (10, "(a:2)")],
    "a [b : c : 1] d": [(1, "a b  d"), (10, "a  c  d")],
    "a[b:[c:d:2]:1]e": [(1, "abe"), (2, "ace"), (10, "ade")],
    "(a [b:c:4]:1.2)": [(4, "(a b:1.2)"), (10, "(a c:1.2)")],
    "[x:3:4]": [(4, "x"), (10, "3")],
    "a [unbalanced": [(10, "a [unbalanced")],
    "a] [b:3]": [(3, "a] "), (10, "a] b")],
    "((a][:b:c [d:3]": [(3, "((a][:b:c "), (10, "((a][:b:c d")],
    "[a:b:c:3]": [(10, "[a:b:c:3]")],
    "[a:b:c]": [(10, "[a:b:c]")],
    "a \\[b:c:3\\]": [(10, "a \\[b:c:3\\]")],
    "[a\\:b:c:3]": [(3, "a\\:b"), (10, "c")],
    "[a:b:3] c|d": [(10, "[a:b:3] c|d")],
    "[a:b:3] (c|d)": [(10, "[a:b:3] (c|d)")],
    "[a:b:3] \\": [(10, "[a:b:3] \\")],
    "[a|b:0.5]": [(10, "[a|b:0.5]")],
    "[a|(b:1.1)]": [(step, "(b:1.1)" if step % 2 == 0 else "a") for step in range(1, 11)],
    "[fe|]male": [(step, "male" if step % 2 == 0 else "female") for step in range(1, 11)],
    "[fe|||]male": [(step, "female" if step % 4 == 1 else "male") for step in range(1, 11)],
    "[[a|b]:c:2]": [(1, "a"), (2, "b"), *[(step, "c") for step in range(3, 11)]],
}
RUNS = {
    # text → (piece, weight) in turn; None is a BREAK
    "": [("", 1)],
    "a": [("a", 1)],
    "(a)": [("a", 1.1)],
    "((a))": [("a", 1.21)],
    "(a:1.3)": [("a", 1.3)],
    "(a: 1.3 )": [("a", 1.3)],
    "((a:1.3))": [("a", 1.43)],
    "((a:1.3) b:0.5)": [("a", 0.65), (" b", 0.5)],
    "[a]": [("a", 1 / 1.1)],
    "[[a]]": [("a", 1 / 1.21)],
    "([a])": [("a", 1)],
    "[a:1.3]": [("a:1.3", 1 / 1.1)],
    "(a:-1)": [("a", -1)],
    "(a:+.5)": [("a", 0.5)],
    "(a:0)": [("a", 0)],
    "(a": [("a", 1.1)],
    "[a": [("a", 1 / 1.1)],
    "(un(bal": [("un", 1.1), ("bal", 1.21)],
    "a)": [("a)", 1)],
    "unnecessary)(parens": [("unnecessary)", 1), ("parens", 1.1)],
    "an (important) word": [("an ", 1), ("important", 1.1), (" word", 1)],
    "\\(a\\)": [("(a)", 1)],
    "\\[a\\]": [("[a]", 1)],
    "a\\\\b": [("a\\b", 1)],
    "a\\b": [("ab", 1)],
    "(a\\)b:1.2)": [("a)b", 1.2)],
    "a:b": [("a:b", 1)],
    "a:1.2)": [("a:1.2)", 1)],
    "(a:b)": [("a:b", 1.1)],
    "(a:1.2.3)": [("a:1.2.3", 1.1)],
    "(a:.)": [("a:.", 1.1)],
    "(((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        ("house", 1.573),
        (" ", 1.1),
        ("on", 1),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun, ", 1.1),
        ("sky", 1.4641),
        (".", 1.1),
    ],
    "a BREAK b": [("a", 1), (None, 1), ("b", 1)],
    "BREAK": [("", 1), (None, 1), ("", 1)],
    "a BREAK BREAK b": [("a", 1), (None, 1), ("", 1), (None, 1), ("b", 1)],
    "(a BREAK b:1.2)": [("a", 1.2), (None, 1), ("b", 1.2)],
    "BREAKFAST break": [("BREAKFAST break", 1)],
}
PARTS = {
    "a": [("a", 1)],
    "a cat :1.2 AND a dog": [("a cat", 1.2), (" a dog", 1)],
    "a AND b:2 AND c : -.5": [("a ", 1), (" b", 2), (" c", -0.5)],
    "a photo:0.5": [("a photo", 0.5)],
    "(a:1.2)": [("(a:1.2)", 1)],
    "a:1.2.3": [("a:1.2.3", 1)],
    "a: 1 2": [("a: 1 2", 1)],
    "a:1:2": [("a:1", 2)],
    "a 3": [("a 3", 1)],
    "a:3.": [("a", 3)],
    "SAND AND LAND": [("SAND", 1), (" LAND", 1)],
    "a and b": [("a and b", 1)],
    "AND": [("", 1), ("", 1)],
}


def test_the_tables_hold_at_least_sixty_prompts():
    assert len(SCHEDULES) + len(RUNS) + len(PARTS) >= 60


@pytest.mark.parametrize("text", SCHEDULES)
def test_editing_and_alternation_follow_the_published_rules(pack, text):
    spans = pack.prompt_editing.schedule(text, STEPS)
    assert [(span.until, span.text) for span in spans] == SCHEDULES[text]


@pytest.mark.parametrize("text", RUNS)
def test_emphasis_follows_the_published_rules(pack, text):
    runs = pack.prompt_emphasis.weighted_runs(text)
    assert [run.text for run in runs] == [piece for piece, _ in RUNS[text]]
    assert [run.weight for run in runs] == pytest.approx([weight for _, weight in RUNS[text]])


@pytest.mark.parametrize("text", PARTS)
def test_and_with_weights_follows_the_published_rules(pack, text):
    parts = pack.prompt_editing.subprompts(text)
    assert [(part.text.rstrip(), part.weight) for part in parts] == [(part.rstrip(), w) for part, w in PARTS[text]]


HARD = st.text(st.sampled_from(list("([)]:|\\.,0123456789eE+- \nabBREAKND")), max_size=200) | st.text(max_size=200)


@given(text=HARD, steps=st.integers(1, 40))
@settings(max_examples=400, deadline=None)
def test_no_text_breaks_a_reader(pack, text, steps):
    for part in pack.prompt_editing.subprompts(text):
        spans = pack.prompt_editing.schedule(part.text, steps)
        ends = [span.until for span in spans]
        assert ends == sorted(set(ends))
        assert ends[-1] == steps
        assert ends[0] >= 1
        for span in spans:
            runs = pack.prompt_emphasis.weighted_runs(span.text)
            assert runs
            assert all(abs(run.weight) < float("inf") for run in runs)


@pytest.mark.parametrize("piece", ["(", "[", "[a:", "[a|", "((a)", "(a", "\\", " ", "BREAK ", "a AND "])
def test_long_texts_of_brackets_are_read_at_once(pack, piece):
    text = piece * (20_000 // len(piece))
    assert pack.prompt_editing.schedule(text, 3)
    assert pack.prompt_emphasis.weighted_runs(text)
    assert pack.prompt_editing.subprompts(text)
