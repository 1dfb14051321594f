"""``serve-app train``, ``package`` and ``describe``: model directories."""

from pathlib import Path

import click

from serve_app.cli.style import DIRECTORY, EXISTING_FILE, SHARE, Command, extra
from serve_app.packaging.recipes import ESTIMATORS, MINIMUM_ACCURACY

OUT = click.option("--out", type=DIRECTORY, default=Path("model"), help="Model directory to write.")


@click.command(cls=Command, example="serve-app train --estimator random_forest --out forest")
@OUT
@click.option(
    "--estimator",
    type=click.Choice(ESTIMATORS),
    default=ESTIMATORS[0],
    help="What to train.",
)
@click.option(
    "--minimum-accuracy",
    type=SHARE,
    default=MINIMUM_ACCURACY,
    help="Write no model whose accuracy on held-out rows is below this.",
)
@click.option("--if-missing", is_flag=True, help="Do nothing if there is a model already.")
def train(out: Path, estimator: str, minimum_accuracy: float, *, if_missing: bool) -> None:
    """Train a classifier on Iris, check it on held-out rows, and package it."""
    from serve_app.model.artifact import CARD_FILE

    if if_missing and (out / CARD_FILE).exists():
        click.echo(f"{out} holds a model already")
        return
    with extra("package"):
        from serve_app.packaging import train as training
    click.echo(training.train(out, estimator=estimator, minimum_accuracy=minimum_accuracy))


@click.command(cls=Command, example="serve-app package fitted.joblib --data rows.csv --out wine")
@click.argument("estimator", type=EXISTING_FILE)
@click.option("--data", type=EXISTING_FILE, help="CSV of the training rows, with a header line.")
@click.option(
    "--feature",
    "features",
    multiple=True,
    metavar="NAME=MIN..MAX[:UNIT]",
    help="A column, in the estimator's order, such as sepal_length=4.3..7.9:cm; once for each.",
)
@click.option("--name", default="classifier", help="Name of the model.")
@OUT
def package(
    estimator: Path, data: Path | None, features: tuple[str, ...], name: str, out: Path
) -> None:
    """Package ESTIMATOR, a file that joblib.dump wrote, as a model directory.

    The file is deserialised: package only files that you trust. Names and ranges of the columns
    come from --data, or from one --feature for each column.
    """
    if not (data or features):
        raise click.UsageError("give --data, or --feature for each column, or both")
    with extra("package"):
        from serve_app.packaging.features import parse_feature
        from serve_app.packaging.tables import read_table
        from serve_app.packaging.package import load_estimator, package_model, summary
    loaded = load_estimator(estimator)
    card = package_model(
        loaded.estimator,
        out,
        features=[parse_feature(text) for text in features] or None,
        training_data=read_table(data) if data else None,
        name=name,
    )
    click.echo(summary(card, out))


@click.command(cls=Command, example="serve-app describe model")
@click.argument("directory", type=DIRECTORY, default=Path("model"))
@click.option("--json", "as_json", is_flag=True, help="Print the model card as JSON.")
def describe(directory: Path, *, as_json: bool) -> None:
    """Verify a model directory and show its card: features, proof, metrics, digests."""
    from serve_app.model.artifact import Artifact
    from serve_app.model.description import describe_card

    card = Artifact.open(directory).card
    click.echo(card.model_dump_json(indent=2) if as_json else describe_card(card))
