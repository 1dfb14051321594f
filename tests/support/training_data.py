"""Training data that tests package, and the kinds of its columns."""

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes

from serve_app.model.card import ModelCard
from serve_app.model.features import Feature

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
LABELS = np.array([0, 0, 1, 1])
FEATURES = [Feature(name=name, minimum=0, maximum=3) for name in ("a", "b")]

GENERATOR = np.random.default_rng(0)
PEOPLE = pd.DataFrame(
    {
        "age": GENERATOR.integers(18, 80, size=300),
        "income": GENERATOR.lognormal(3, 1, size=300),
        "plan": GENERATOR.choice(["basic", "pro", "team"], size=300),
        "member": GENERATOR.random(300) < 0.5,
    }
)
GAPS = PEOPLE.assign(
    income=PEOPLE["income"].mask(GENERATOR.random(300) < 0.1),
    plan=PEOPLE["plan"].mask(GENERATOR.random(300) < 0.1),
)
CODED = GAPS.assign(plan=GAPS["plan"].astype("category"))
LIKES = (PEOPLE["age"] * 0.02 + (PEOPLE["plan"] == "pro") > 1.2).astype(int)
SPENDS = PEOPLE["age"] * 2.0 + PEOPLE["income"]
NUMBERS = PEOPLE[["age", "income"]]
CANCER = load_breast_cancer(as_frame=True)
CODES = pd.DataFrame(
    {"code": GENERATOR.integers(1, 5, size=300), "value": GENERATOR.normal(size=300)}
)
SUGAR = load_diabetes(as_frame=True)
TEXTS = pd.Series(
    [f"a {word} film" for word in GENERATOR.choice(["good", "bad", "long", "great"], size=300)]
)
PRAISE = TEXTS.str.contains("good|great").astype(int)


def kinds(card: ModelCard) -> str:
    """Kinds of a card's columns, as first letters; ``?`` nullable, ``!`` no unseen values."""
    return " ".join(
        each.kind[0]
        + ("?" if each.nullable else "")
        + ("!" if each.kind == "category" and not each.unseen_allowed else "")
        for each in card.features
    )
