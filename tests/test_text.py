"""Hashed features of text: by definition, equal on the host and in jit, whatever the bytes."""

import itertools
import string

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from same_features import check, check_many
from test_projection import MASK, word

from structlin.text import Grams, TextProjection, encode, split

ODD = [
    *["", " ", "\t\r\n \f\v", "a", "A b", "  Hello,   World ", "Größe 日本語 \U0001f600"],
    *["\ud800 x\udfff", b"\x80\x80 \x80a\xff", b"\xe6\x97", b"\0 \0\0", "aa aa aa aa aa"],
]


def units(text, unit):
    """The hashes of a text's units, in Python's integers."""
    parts = text.split(" ") if unit == "words" else f" {text} "
    return [sum(word(i, b, 0) for i, b in enumerate(u.encode())) & MASK for u in parts]


def grams(text, unit, patterns):
    """The hashes of its grams: each takes in unit after unit."""
    found, hashes = [], units(text, unit)
    for pattern in patterns:
        for i in range(len(hashes) - pattern[-1]):
            value = hashes[i]
            for before, after in itertools.pairwise(pattern):
                value = word(value, hashes[i + after], after - before)
            found.append(value)
    return found


@pytest.mark.parametrize("unit", ["characters", "words"])
def test_grams_by_definition(unit):
    made = Grams(unit, (1, 3), skips=2)
    assert made.patterns == ((0,), (0, 1, 2), (0, 2), (0, 3))
    for text in ("grüße an 日本 und 🙂", "x"):
        assert made.on_host(text).tolist() == grams(text, unit, made.patterns)


def test_the_host_and_jit_agree_on_random_texts():
    check_many(300)


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_the_host_and_jit_agree_on_odd_texts(text):
    check(text)


def test_spaces_and_capitals_do_not_count():
    made = Grams()
    assert_array_equal(made.on_host("  Two\t\nWORDS "), made.on_host("two words"))
    assert len(made.on_host("two words")) != len(made.on_host("twowords"))
    exact = Grams(lowercase=False)
    assert (exact.on_host("Two") != exact.on_host("two")).any()


def test_order_distance_and_place_count():
    pairs = Grams("words", (2,))
    assert pairs.on_host("to boston") != pairs.on_host("boston to")
    assert (
        Grams("words", (2,), 1).on_host("a b a")[0] != Grams("words", (2,), 1).on_host("a a b")[0]
    )
    apart, beside = Grams("words", (3,), 1).on_host("a x b")[1], pairs.on_host("a b")[0]
    assert apart != beside


def test_words_hardly_ever_collide():
    words = ["".join(w) for w in itertools.product(string.ascii_lowercase, repeat=3)]
    hashes = Grams("words", (1,)).on_host(" ".join(words))
    assert len(np.unique(hashes)) == len(words)  # 0.04 collisions are to be expected
    ones = np.unpackbits(hashes.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 5 / (2 * 32 * len(words)) ** 0.5


def test_a_megabyte(rng):
    made = TextProjection(Grams("characters", (2,)), 2, "uniform", "real")
    alphabet = np.frombuffer("abc dé日".encode(), np.uint8)
    for text in (bytes(rng.choice(alphabet, 1_000_000)), b"a" * 1_000_000):
        (data,), (length,) = encode([text])
        ours, hosts = jax.jit(made)(data, length), made.on_host([text], len(text))
        assert_array_equal(ours[0], hosts[0][0])
        assert_array_equal(ours[1], hosts[1][0])


def test_bytes_after_the_length_do_not_count():
    data, lengths = encode(["ab", "ab c"], 6)
    data = data.copy()
    data[0, 2:], data[1, 4:] = 99, 32
    made = TextProjection(Grams("words", (1,)), 8)
    vectors, _ = jax.jit(made)(data, lengths)
    assert_array_equal(vectors, made.on_host(["ab", "ab c"], 6)[0])
    assert_array_equal(jax.jit(made)(data, lengths + 99)[0][1], vectors[1])


def test_encode_and_split():
    data, lengths = encode(["a  bcd\te ", "", b"\xc3\xa9", "\ud800"], 8)
    assert lengths.tolist() == [8, 0, 2, 3]
    rows, sizes = jax.jit(split, static_argnums=(2, 3))(data, lengths, 4, 2)
    assert sizes.tolist() == [[1, 2, 1, 0], [0] * 4, [2, 0, 0, 0], [2, 0, 0, 0]]
    assert bytes(np.asarray(rows[0])) == b"a\0bce\0\0\0"
    assert encode(["abc", "d"])[0].shape == (2, 3)
    assert encode([], 4)[0].shape == (0, 4)
    assert encode([""])[0].shape == (1, 1)


def test_words_have_the_vectors_of_texts():
    made = TextProjection(Grams(), 8, per="word", words=(3, 8))
    vectors, mask = made.on_host(["one two", ""], 16)
    assert mask.tolist() == [[True, True, False], [False] * 3]
    alone, _ = TextProjection(Grams(), 8).on_host(["two"], 16)
    assert_array_equal(vectors[0, 1], alone[0])
    assert not vectors[1].any()


def test_ternary_vectors_are_half_zeros():
    words = " ".join(map(str, range(200)))
    made = TextProjection(Grams("words", (1,)), 64, output="ternary", per="gram")
    vectors = made.on_host([words], len(words))[0][0, :200]
    counts = [(vectors == v).mean() for v in (-1, 0, 1)]
    assert np.abs(np.subtract(counts, [0.25, 0.5, 0.25])).max() < 5 * 0.5 / vectors.size**0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grams("bytes"), "characters or words; given unit='bytes'"),
        (lambda: Grams(sizes=(0,)), "sizes of 1 or more"),
        (lambda: Grams(sizes=()), "sizes of 1 or more"),
        (lambda: Grams(limit=0), "limit of 1 or more"),
        (lambda: TextProjection(kind="normal"), "sign, ternary or uniform.*given kind='normal'"),
        (lambda: TextProjection(output="bits"), "real, sign, ternary; given output='bits'"),
        (lambda: TextProjection(per="line"), "text, word or gram; given per='line'"),
        (lambda: encode(["a"], 0), "at least one byte; given size=0"),
    ],
)
def test_what_makes_no_features(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("call", [Grams(), TextProjection(), lambda d, n: split(d, n, 2, 2)])
def test_texts_are_bytes(call):
    with pytest.raises(TypeError, match=r"uint8 \(..., bytes\); given int32"):
        call(np.zeros((2, 3), np.int32), np.zeros(2, np.int32))
