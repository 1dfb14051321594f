"""CSV has strings where the estimator was fitted on datetimes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from serve_app.model.artifact import Artifact
from serve_app.model.loading import load_predictor
from serve_app.packaging.files import package_files
from serve_app.packaging.tables import PackagingError
from serve_app.protocols.schemas import RequestSchema
from tests.support.tables import day_of_month

HOUSES = pd.DataFrame(
    {
        "area": np.linspace(40, 200, 120).round(1),
        "sold at": pd.date_range("2024-01-01 10:30", periods=120, freq="31h"),
    }
)
SCHEMA = '{"sold at": {"kind": "datetime"}}'

Package = Callable[..., Any]


def fitted(table: Any) -> Any:
    """Reads the day of the month."""
    columns = make_column_transformer(
        (FunctionTransformer(day_of_month), ["sold at"]), ("passthrough", ["area"])
    )
    days = table["sold at"].dt.day.fillna(0)
    return make_pipeline(columns, LinearRegression()).fit(table, table["area"] + days)


@pytest.fixture
def packaged(tmp_path: Path) -> Package:
    """Packages an estimator with CSV."""

    def package(estimator: Any, csv: str, schema: str | None = None) -> Any:
        joblib.dump(estimator, tmp_path / "fitted.joblib")
        (tmp_path / "rows.csv").write_text(csv)
        (tmp_path / "schema.json").write_text(schema or "")
        return package_files(
            tmp_path / "fitted.joblib",
            tmp_path / "rows.csv",
            tmp_path / "model",
            schema=tmp_path / "schema.json" if schema else None,
            report=lambda _: None,
        )

    return package


@pytest.mark.parametrize("schema", [None, SCHEMA])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_datetimes_of_csv_are_answered_as_the_estimator_answers_them(
    packaged: Package, schema: str | None, zone: str | None
) -> None:
    """With and without a time zone, gaps too; a request with an offset means the same moment."""
    table = HOUSES.assign(**{"sold at": HOUSES["sold at"].dt.tz_localize(zone)})
    table.loc[3, "sold at"] = pd.NaT
    estimator = fitted(table)
    written = packaged(estimator, table.to_csv(index=False), schema)
    sold = written.card.features[1]
    assert (sold.kind, sold.nullable) == ("datetime", True)
    predictor = load_predictor(Artifact.open(written.directory))
    schema_of = RequestSchema(written.card, max_rows=10)
    for row in (0, 3, 77):
        moment = table["sold at"][row]
        sent = "null" if pd.isna(moment) else f'"{moment.isoformat()}"'
        rows = schema_of.instance(f'{{"area": {table["area"][row]}, "sold at": {sent}}}'.encode())
        expected = estimator.predict(table.iloc[[row]])[0]
        assert predictor.predict(rows).values[0] == pytest.approx(expected, rel=1e-9)
    if zone:
        body = b'{"area": 40, "sold at": "2024-06-01T01:30:00+02:00"}'
        asked = pd.DataFrame({"area": [40.0], "sold at": [pd.Timestamp("2024-05-31T23:30Z")]})
        found = predictor.predict(schema_of.instance(body)).values[0]
        assert found == pytest.approx(estimator.predict(asked)[0], rel=1e-9)


def test_a_value_that_is_no_moment_is_named(packaged: Package) -> None:
    """A day before a month can be read in two ways: nothing is guessed."""
    csv = HOUSES.to_csv(index=False).replace("2024-01-02 17:30:00", "02/01/2024")
    message = r"column 'sold at', row 2: '02/01/2024' is no ISO 8601 .*Parquet"
    with pytest.raises(PackagingError, match=message):
        packaged(fitted(HOUSES), csv, SCHEMA)


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_a_difference_to_utc_names_no_time_zone(packaged: Package, schema: str | None) -> None:
    """In another part of the year the hour that the estimator reads would be another."""
    table = HOUSES.assign(**{"sold at": HOUSES["sold at"].dt.tz_localize("Europe/Berlin")})
    with pytest.raises(PackagingError, match=r"row 1: .* time zone that is not UTC.*Parquet"):
        packaged(fitted(table), table.to_csv(index=False), schema)
