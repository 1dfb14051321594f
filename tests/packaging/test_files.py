"""Files of estimators are loaded, or refused in one line; what they would do is looked at first."""

import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from serve_app.packaging.files import load_estimator, package_files
from serve_app.packaging.tables import PackagingError

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
FITTED = LogisticRegression().fit(pd.DataFrame(ROWS, columns=["a", "b"]), [0, 0, 1, 1])


class Runs:
    """A pickle that calls a function when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        """What pickle calls."""
        return self._call


@pytest.mark.parametrize(
    "dump", [joblib.dump, lambda each, path: path.write_bytes(pickle.dumps(each))]
)
def test_joblib_and_pickle_files_are_loaded(tmp_path: Path, dump: Any) -> None:
    """Of the installed version of scikit-learn, which needs no verdict."""
    dump(FITTED, tmp_path / "fitted")
    loaded = load_estimator(tmp_path / "fitted")
    assert loaded.estimator.coef_.tolist() == FITTED.coef_.tolist()
    assert loaded.fitted_with is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a pickle", "cannot load a fitted estimator: "),
        (b"", "cannot load a fitted estimator: EOFError"),
        (pickle.dumps(FITTED)[:-20], "cannot load a fitted estimator: "),
        (b"cgone.module\nThing\n.", "needs the module 'gone', which is not installed"),
        (pickle.dumps(Runs(sys.exit, "bye")), "SystemExit: bye"),
    ],
)
def test_a_file_without_an_estimator_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    """The refusal names the file and what was raised, whatever that is, in one line."""
    path = tmp_path / "fitted.joblib"
    path.write_bytes(content)
    with pytest.raises(PackagingError, match=message) as info:
        load_estimator(path)
    assert str(path) in str(info.value)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(os.system, ("touch harm",)), (eval, ("1 + 1",)), (exec, ("open('harm', 'w')",))],
)
def test_a_file_that_does_harm_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Any, arguments: tuple[Any, ...]
) -> None:
    """The usual attempts are seen before they run; the rest of the process is free to do so."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "fitted.joblib"
    path.write_bytes(pickle.dumps(Runs(function, *arguments)))
    message = rf"would run \w+\.{function.__name__} when it is loaded"
    with pytest.raises(PackagingError, match=message):
        load_estimator(path)
    assert [each.name for each in tmp_path.iterdir()] == ["fitted.joblib"]
    assert pickle.loads(pickle.dumps(Runs(eval, "1 + 1"))) == 2


def test_what_another_version_fitted_gets_a_verdict(tmp_path: Path) -> None:
    """It is served as this version answers it, and the card keeps both versions."""
    content = pickle.dumps(FITTED)
    installed = re.search(rb"_sklearn_version.{1,4}?(\d+\.\d+\.\d+)", content)
    assert installed is not None
    other = b"0.9.9"[: len(installed[1])]
    (tmp_path / "old.pkl").write_bytes(content.replace(installed[1], other))
    assert load_estimator(tmp_path / "old.pkl").fitted_with == other.decode()
    said: list[str] = []
    pd.DataFrame(ROWS, columns=["a", "b"]).to_csv(tmp_path / "rows.csv")
    packaged = package_files(
        tmp_path / "old.pkl", tmp_path / "rows.csv", tmp_path / "model", report=said.append
    )
    assert packaged.card.fitted_with == other.decode() != packaged.card.libraries["scikit-learn"]
    assert any("fitted with scikit-learn 0.9.9" in line for line in said)
