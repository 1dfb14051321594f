"""What cannot be served is refused in one line, and what was there stays."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
)

from serve_app.model.artifact import Artifact
from serve_app.packaging.package import package_model
from serve_app.packaging.tables import PackagingError
from tests.support.training_data import FEATURES, LABELS, ROWS


@pytest.mark.parametrize(
    ("estimator", "options", "message"),
    [
        (LogisticRegression(), {}, "LogisticRegression is not fitted: call fit first"),
        (DummyClassifier().fit(ROWS, LABELS * 0), {}, "the one class 0 only"),
        (LogisticRegression().fit(ROWS[:, :1], LABELS), {}, "features has 2, estimator has 1"),
        (
            LogisticRegression().fit(ROWS, LABELS),
            {"training_data": ROWS[:, :1]},
            "features has 2, training_data has 1",
        ),
        (
            LogisticRegression().fit(ROWS, LABELS),
            {"training_data": ROWS * 1e31 + 1e31, "features": {"a": {}, "b": {}}},
            r"'a'.*: .*less than or equal to 10{30}",
        ),
        (LogisticRegression().fit(ROWS, LABELS), {"features": FEATURES[:1] * 2}, "repeated: a"),
        (LogisticRegression().fit(ROWS, LABELS), {"features": None}, "or training_data"),
        (LogisticRegression().fit(ROWS, LABELS), {"metrics": {"auc": np.nan}}, r"metrics\.auc"),
        (
            LogisticRegression().fit(pd.DataFrame(ROWS, columns=["a", "c"]), LABELS),
            {},
            "fitted on a, c; given are a, b",
        ),
        (
            make_pipeline(FunctionTransformer(lambda rows: rows), LogisticRegression()).fit(
                ROWS, LABELS
            ),
            {},
            "cannot be written to a file: .*lambda.*; use named functions and classes",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(
    tmp_path: Path, estimator: Any, options: dict[str, Any], message: str
) -> None:
    """The refusal names value and fix in one line, and nothing is written."""
    with pytest.raises(PackagingError, match=message) as info:
        package_model(estimator, tmp_path / "model", **{"features": FEATURES, **options})
    assert "\n" not in str(info.value)
    assert not list(tmp_path.iterdir())


class Unexpected(LogisticRegression):  # type: ignore[misc]
    """Fails where no estimator should."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("cannot be copied\nat all")


def test_any_failure_is_a_refusal(tmp_path: Path) -> None:
    """What was going on, the cause in one line, and the fix."""
    with pytest.raises(PackagingError, match="RuntimeError: cannot be copied at all; fix") as info:
        package_model(Unexpected().fit(ROWS, LABELS), tmp_path / "model", features=FEATURES)
    assert "\n" not in str(info.value)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from serve_app.packaging.package import package_model
from serve_app.packaging.tables import PackagingError
import handmade

class Mine(LogisticRegression):
    pass

def doubled(rows):
    return rows * 2

rows, labels = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 2
for estimator in (
    Mine(),
    make_pipeline(FunctionTransformer(doubled), LogisticRegression()),
    handmade.Theirs(),
):
    try:
        package_model(
            estimator.fit(rows, labels), Path("model"), training_data=rows,
            features={{"a": {{}}, "b": {{}}}}, report=lambda line: None,
        )
    except PackagingError as error:
        print(error)
"""


def test_what_only_the_script_has_is_refused(iris: Path, tmp_path: Path) -> None:
    """A class or function of __main__, a module beside the script: no service could load them."""
    (tmp_path / "handmade.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "class Theirs(LogisticRegression):\n    pass\n"
    )
    here = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(here=here)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    own_class, own_function, own_module = done.stdout.splitlines()
    assert "needs 'Mine', which is defined in the script that ran" in own_class
    assert "needs 'doubled', which is defined in the script that ran" in own_function
    assert "needs the module 'handmade', which is not installed" in own_module
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == "") in (
        [],
        ["__pycache__"],
    )


def test_an_existing_model_stays_when_the_new_one_is_refused(
    fitted: LogisticRegression, tmp_path: Path
) -> None:
    """It is replaced only by one that a fresh process has loaded."""
    card = package_model(fitted, tmp_path / "model", features=FEATURES)
    with pytest.raises(PackagingError, match="the module 'gone', which is not installed"):
        package_model(Vanishing().fit(ROWS, LABELS), tmp_path / "model", features=FEATURES)
    assert Artifact.open(tmp_path / "model").card == card
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


class Vanishing(LogisticRegression):  # type: ignore[misc]
    """Is pickled as a thing of a module that is nowhere."""

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce__(self) -> Any:
        return _gone, ()


def _gone() -> Any:
    raise ModuleNotFoundError("No module named 'gone'", name="gone")
