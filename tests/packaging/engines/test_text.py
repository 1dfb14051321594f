"""Texts: terms are counted as by the vectorizer, and weighed in the graph."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serve_app.model import onnx_predictor
from serve_app.model.features import Feature
from serve_app.model.onnx_predictor import OnnxPredictor
from serve_app.model.sklearn_predictor import SklearnPredictor
from serve_app.packaging.compiler import compiled_form
from serve_app.packaging.engines.graph import CannotCompileError
from tests.support.compiled import task_of

TEXTS = [
    "Called twice about the Café, paid late",
    "paid; don't call again!",
    "the ÉCLAIR was good,   really good",
    "I am happy foo_bar 42 naïve",
    "",
    "good good bad",
] * 5
LABELS = ["good" in text for text in TEXTS]
TEXT = Feature(name="text", kind="text")

VECTORIZERS = [
    CountVectorizer(),
    CountVectorizer(binary=True, lowercase=False, ngram_range=(1, 2)),
    TfidfVectorizer(),
    TfidfVectorizer(ngram_range=(2, 3), sublinear_tf=True, norm="l1"),
    TfidfVectorizer(stop_words="english", strip_accents="unicode", use_idf=False),
    TfidfVectorizer(analyzer="char", ngram_range=(1, 3), strip_accents="ascii", norm=None),
    TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), max_features=40),
    TfidfVectorizer(token_pattern=r"\S+", min_df=2),  # noqa: S106
]


def predictors(model: Any, features: Any, takes: Any) -> tuple[SklearnPredictor, OnnxPredictor]:
    """The estimator, and its compiled form."""
    task = task_of(model)
    form = compiled_form(model, features, task)
    compiled = OnnxPredictor(form.model, precision=form.precision, features=features, task=task)
    return SklearnPredictor(model, task, features, takes), compiled


FITTED = [
    predictors(
        make_pipeline(vectorizer, LogisticRegression()).fit(TEXTS, LABELS), (TEXT,), "column"
    )
    for vectorizer in VECTORIZERS
]


def require_equal(place: int, texts: list[str]) -> None:
    reference, compiled = FITTED[place]
    rows = np.array([[text] for text in texts], dtype=object)
    for some in (rows, rows[:1]):
        found, expected = compiled.predict(some), reference.predict(some)
        assert found.values == expected.values
        assert found.scores is not None
        np.testing.assert_allclose(found.scores, expected.scores or [], atol=1e-12)


@pytest.mark.parametrize("place", range(len(VECTORIZERS)))
def test_texts_get_the_estimators_answers(place: int) -> None:
    """Accents, punctuation, stop words, repeated terms, no known term at all."""
    require_equal(place, [*TEXTS, "quite unknown", "CAFE café", "  "])


@pytest.mark.parametrize("place", range(len(VECTORIZERS)))
@given(texts=st.lists(st.text() | st.sampled_from(TEXTS), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_any_text_is_counted_as_by_the_vectorizer(place: int, texts: list[str]) -> None:
    """Whatever Unicode a request can carry."""
    require_equal(place, texts)


def test_rows_of_many_terms_are_predicted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they would not fit a processor's cache; the answers are the same."""
    monkeypatch.setattr(onnx_predictor, "MANY_TERMS", 1)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, LABELS)
    reference, compiled = predictors(model, (TEXT,), "column")
    rows = np.array([[text] for text in TEXTS], dtype=object)
    found, expected = compiled.predict(rows), reference.predict(rows)
    assert found.values == expected.values
    np.testing.assert_allclose(found.scores or [], expected.scores or [], atol=1e-12)


def test_texts_beside_other_columns() -> None:
    """A column of texts among numbers and strings, and counts that a later step weighs."""
    table = pd.DataFrame({"size": np.arange(30.0), "text": TEXTS, "other": TEXTS[::-1]})
    columns = make_column_transformer(
        (StandardScaler(), ["size"]),
        (make_pipeline(CountVectorizer(), TfidfTransformer()), "text"),
        (CountVectorizer(), "other"),
    )
    model = make_pipeline(columns, LogisticRegression()).fit(table, LABELS)
    features = (
        Feature(name="size", minimum=0, maximum=30),
        TEXT,
        Feature(name="other", kind="text"),
    )
    reference, compiled = predictors(model, features, "frame")
    rows = table.astype(object).to_numpy()
    for some in (rows, rows[3:4]):
        found, expected = compiled.predict(some), reference.predict(some)
        assert found.values == expected.values
        np.testing.assert_allclose(found.scores or [], expected.scores or [], atol=1e-12)


def test_functions_of_a_user_are_refused() -> None:
    """Their code is not read."""
    model = make_pipeline(
        TfidfVectorizer(tokenizer=str.split, token_pattern=None), LogisticRegression()
    )
    model.fit(TEXTS, LABELS)
    with pytest.raises(CannotCompileError, match="functions of its own"):
        compiled_form(model, (TEXT,), task_of(model))
