"""Counts the terms of texts as scikit-learn's vectorizers do, without importing scikit-learn.

A compiled model takes these counts: regular expressions and Unicode are no matter of tensors.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal

from serve_app.model.frozen import Frozen

_SPACES = re.compile(r"\s\s+")


class TermCounter(Frozen):
    """Which strings of a text are terms, and the known ones; fields as of ``CountVectorizer``."""

    analyzer: Literal["word", "char", "char_wb"]
    lowercase: bool
    strip_accents: Literal["ascii", "unicode"] | None
    token_pattern: str
    ngram_range: tuple[int, int]
    stop_words: tuple[str, ...] | None
    terms: tuple[str, ...]
    """Known terms, by position."""

    def positions(self) -> Callable[[str], list[int]]:
        """A function from a text to the position of each of its known terms, repeated ones too."""
        known = {term: position for position, term in enumerate(self.terms)}
        terms_of = self._terms_of()
        return lambda text: [known[term] for term in terms_of(text) if term in known]

    def _terms_of(self) -> Callable[[str], Sequence[str]]:
        prepared = self._prepared
        if self.analyzer == "char":
            return lambda text: self._substrings(_SPACES.sub(" ", prepared(text)))
        if self.analyzer == "char_wb":
            return lambda text: self._substrings_of_words(_SPACES.sub(" ", prepared(text)))
        find = re.compile(self.token_pattern).findall
        stop_words = frozenset(self.stop_words or ())
        if not stop_words and self.ngram_range == (1, 1):
            return lambda text: find(prepared(text))
        return lambda text: self._sequences(
            [word for word in find(prepared(text)) if word not in stop_words]
        )

    def _prepared(self, text: str) -> str:
        if self.lowercase:
            text = text.lower()
        if self.strip_accents is None or text.isascii():
            return text
        apart = unicodedata.normalize("NFKD", text)
        if self.strip_accents == "ascii":
            return apart.encode("ascii", "ignore").decode("ascii")
        return "".join(character for character in apart if not unicodedata.combining(character))

    def _sequences(self, words: list[str]) -> list[str]:
        shortest, longest = self.ngram_range
        return [
            " ".join(words[start : start + length])
            for length in range(shortest, min(longest, len(words)) + 1)
            for start in range(len(words) - length + 1)
        ]

    def _substrings(self, text: str) -> list[str]:
        shortest, longest = self.ngram_range
        return [
            text[start : start + length]
            for length in range(shortest, min(longest, len(text)) + 1)
            for start in range(len(text) - length + 1)
        ]

    def _substrings_of_words(self, text: str) -> list[str]:
        """Substrings of each word between spaces; a word too short for a length counts once."""
        shortest, longest = self.ngram_range
        found = []
        for word in text.split():
            padded = f" {word} "
            for length in range(shortest, longest + 1):
                if length >= len(padded):
                    found.append(padded)
                    break
                found += [
                    padded[start : start + length] for start in range(len(padded) - length + 1)
                ]
        return found
