"""What people think of a film: a text classifier, fitted on the texts themselves.

The only column is called ``text``; a request is ``{"text": "a film to remember"}``.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from examples.command_line import run
from serve_app.model.card import ModelCard
from serve_app.packaging.package import package_model

OPINIONS = {
    "positive": ("brilliant", "moving", "a joy", "well acted", "never dull", "worth it", "superb"),
    "negative": ("boring", "far too long", "a mess", "badly acted", "dull", "a waste", "awful"),
}
SUBJECTS = ("the plot", "the cast", "this film", "the ending", "the music", "the camera")


def reviews(count: int = 1_500) -> tuple[pd.Series, pd.Series]:
    """Made reviews, and the opinion of each."""
    random = np.random.default_rng(0)
    labels = random.choice(list(OPINIONS), count)
    texts = [
        ". ".join(
            f"{random.choice(SUBJECTS)} is {random.choice(OPINIONS[label])}" for _ in range(3)
        )
        for label in labels
    ]
    return pd.Series(texts, name="text"), pd.Series(labels)


def example(directory: Path) -> ModelCard:
    """Train and package."""
    texts, opinions = reviews()
    estimator = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression())
    return package_model(
        estimator.fit(texts, opinions), directory, training_data=texts, name="reviews"
    )


if __name__ == "__main__":
    run(example)
