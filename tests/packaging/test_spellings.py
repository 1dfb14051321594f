"""What a spreadsheet spelled otherwise than JSON is named, where the estimator fails on it."""

from pathlib import Path

import joblib
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from serve_app.packaging.files import package_files
from serve_app.packaging.spellings import odd_spellings
from serve_app.packaging.tables import PackagingError


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("WAHR", "FALSCH", ""), "column 'b' has 'WAHR': write true and false"),
        (("1.000,00", "20,5", "1"), "column 'b' has '1.000,00': write numbers without separators"),
        (("20", "1'000", "7"), "column 'b' has '1'000': write numbers without separators"),
    ],
)
def test_column_and_value_are_named(tmp_path: Path, cells: tuple[str, ...], message: str) -> None:
    """After what the estimator said of them, in one line."""
    estimator = LinearRegression().fit(pd.DataFrame({"a": [0, 1, 2], "b": [1, 0, 2]}), [1, 2, 3])
    joblib.dump(estimator, tmp_path / "fitted.joblib")
    rows = "".join(f"{row},5;{cell}\n" for row, cell in enumerate(cells))
    (tmp_path / "rows.csv").write_text(f"a;b\n{rows}")
    with pytest.raises(PackagingError, match="cannot predict the rows given") as info:
        package_files(
            tmp_path / "fitted.joblib",
            tmp_path / "rows.csv",
            tmp_path / "model",
            report=lambda _: None,
        )
    assert message in str(info.value).replace('"', "'")
    assert "\n" not in str(info.value)


def test_other_strings_are_not_taken_for_them() -> None:
    """Words, versions and mixtures are not."""
    frame = pd.DataFrame({"a": ["wahr", "x"], "b": ["1.2.3", "1.000"], "c": [1.5, 2]})
    assert not odd_spellings(frame)
