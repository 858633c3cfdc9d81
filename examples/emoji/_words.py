"""Messages to words, and words to rows of embeddings, also those that were never seen."""

import html
import itertools
import re
from collections import Counter
from collections.abc import Iterable

__all__ = ["LONGEST", "pieces", "vocabulary", "words"]

LONGEST = 32
"""How many words of a message are read."""

SELECTORS = re.compile("[\ufe0e\ufe0f\u200d]")
REPEATED = re.compile(r"(.)\1{2,}")
WORD = re.compile(r"[#@]?\w+(?:['’]\w+)*|([^\w\s])\1*")  # noqa: RUF001 - tweets have both apostrophes
SIZES = (3, 4, 5)
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


def vocabulary(messages: Iterable[list[str]], least: int, most_pieces: int) -> list[str]:
    """The names of the rows: words that occur often enough, then the pieces of most words.

    Args:
        messages: The words of each.
        least: How often a word must occur.
        most_pieces: How many pieces there are at most.
    """
    counts = Counter(word for message in messages for word in message)
    known = sorted(word for word, count in counts.items() if count >= least)
    shared = Counter(piece for word in counts for piece in set(pieces(word)))
    return known + sorted(piece for piece, _ in shared.most_common(most_pieces))
