"""What several tests of packaging need."""

import pytest
from sklearn.linear_model import LogisticRegression

from tests.support.training_data import LABELS, ROWS


@pytest.fixture(scope="session")
def fitted() -> LogisticRegression:
    """A classifier of two columns; packaging leaves it as it is."""
    return LogisticRegression().fit(ROWS, LABELS)
