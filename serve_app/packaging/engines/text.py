"""Vectorizers of one text column: terms are counted before the graph, the graph weighs them."""

from typing import Any

import numpy as np

from serve_app.model.text import TermCounter
from serve_app.packaging.engines.graph import CannotCompileError, Tensor
from serve_app.packaging.engines.registry import Emitter, emits
from serve_app.packaging.engines.table import Table
from serve_app.packaging.engines.trees import require

_MOST_TERMS = 200_000
"""Terms above which a row of counts takes longer than the vectorizer itself."""


@emits("sklearn.CountVectorizer", "sklearn.TfidfVectorizer")
class _Vectorizer(Emitter):
    def transform(self) -> Table:
        vectorizer = self.estimator
        if len(self.table.columns) != 1 or not self.table.columns[0].is_text:
            raise CannotCompileError(f"{type(vectorizer).__name__} over other than one text column")
        require(
            vectorizer.preprocessor is None
            and vectorizer.tokenizer is None
            and vectorizer.input == "content"
            and isinstance(vectorizer.analyzer, str)
            and not callable(vectorizer.strip_accents),
            f"{type(vectorizer).__name__} with functions of its own",
        )
        stop_words = vectorizer.get_stop_words() if vectorizer.analyzer == "word" else None
        terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
        require(
            sorted(vectorizer.vocabulary_.values()) == list(range(len(terms))),
            "a vocabulary with gaps",
        )
        require(len(terms) <= _MOST_TERMS, f"{len(terms):,} terms")
        counter = TermCounter(
            analyzer=vectorizer.analyzer,
            lowercase=vectorizer.lowercase,
            strip_accents=vectorizer.strip_accents,
            token_pattern=vectorizer.token_pattern,
            ngram_range=tuple(vectorizer.ngram_range),
            stop_words=None if stop_words is None else tuple(sorted(stop_words)),
            terms=tuple(terms),
        )
        counts = self.graph.counts(self.table.columns[0].source, counter)
        if vectorizer.binary:
            counts = counts.above(0.0).cast(np.float64)
        weighing = getattr(vectorizer, "_tfidf", None)
        if weighing is not None:
            counts = _weighed(weighing, counts)
        return self.table.of_numbers(counts, len(terms), is_sparse=True)


@emits("sklearn.TfidfTransformer")
class _Weighing(Emitter):
    def transform(self) -> Table:
        counts = self.table.numbers(self.estimator)
        return self.table.of_numbers(
            _weighed(self.estimator, counts), self.table.width, is_sparse=True
        )


def _weighed(weighing: Any, counts: Tensor) -> Tensor:
    """Counts by how rare each term is, each row scaled to length one."""
    if weighing.sublinear_tf:
        counts = counts.above(0.0).where(counts.op("Max", 1.0).op("Log") + 1.0, 0.0)
    if weighing.use_idf:
        counts = counts * weighing.idf_
    if weighing.norm is None:
        return counts
    length = (counts * counts).sum().op("Sqrt") if weighing.norm == "l2" else counts.op("Abs").sum()
    return counts / length.equal(0.0).where(1.0, length)
