"""Messages to words, and words to rows of embeddings, also those that were never seen."""

import html
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping

__all__ = ["LONGEST", "MOST", "known_pieces", "pieces", "vocabulary", "words"]

LONGEST = 32
"""How many words of a message are read."""

SELECTORS = re.compile("[\ufe0e\ufe0f\u200d]")
REPEATED = re.compile(r"(.)\1{2,}")
WORD = re.compile(r"[#@]?\w+(?:['’]\w+)*|([^\w\s])\1*")  # noqa: RUF001 - tweets have both apostrophes
SIZES = (3, 4, 5)
MOST = 12
"""How many pieces of a word are read."""
MARK = "~"
"""What the name of a piece starts with; no word does that has letters."""


def words(message: str, selectors: bool = False) -> list[str]:
    """The words of a message, in lower case: names, hashtags and runs of punctuation are words.

    Args:
        message: Any text.
        selectors: Whether variation selectors are words too. An emoji may be followed by one, which
            is invisible. TweetEval took the emoji out of its tweets and left these: they stand
            where a heart or a sun was, the answer, and nearly nowhere else. Nobody types them.
    """
    plain = html.unescape(message if selectors else SELECTORS.sub("", message)).lower()
    found = WORD.finditer(REPEATED.sub(r"\1\1", plain))
    return [match[0] for match in itertools.islice(found, LONGEST)]


def pieces(word: str) -> list[str]:
    """The names of a word's pieces: all 3 to 5 of its letters in a row, its ends marked."""
    bare = f"<{word.lstrip('#@')}>"
    return [MARK + bare[i : i + n] for n in SIZES for i in range(len(bare) - n + 1)]


def known_pieces(word: str, numbers: Mapping[str, int]) -> list[int]:
    """The numbers of a word's pieces that have one: at most `MOST`, of all lengths."""
    found = [numbers[piece] for piece in pieces(word) if piece in numbers]
    if len(found) <= MOST:
        return found
    return [found[i * len(found) // MOST] for i in range(MOST)]


def vocabulary(messages: Iterable[list[str]], least: int, most: int) -> tuple[list[str], list[str]]:
    """The words that occur often enough, and the pieces of most words.

    Frequent ones come first: in a store they then stand together, and a few blocks serve most
    messages.

    Args:
        messages: The words of each.
        least: How often a word must occur.
        most: How many pieces there are at most.
    """
    counts = Counter(word for message in messages for word in message)
    shared = Counter(piece for word in counts for piece in dict.fromkeys(pieces(word)))
    known = [word for word, count in counts.most_common() if count >= least]
    return known, [piece for piece, _ in shared.most_common(most)]
