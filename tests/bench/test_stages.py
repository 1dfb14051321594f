"""The stages of a prediction are timed alone and together."""

from bench.models import BenchModel
from bench.stages import WHOLE, timed_stages


def test_the_whole_is_more_than_its_stages(models: dict[str, BenchModel]) -> None:
    """Every stage takes time; together they are a prediction, which is not handed on to Serve."""
    found = {stage: values["us"] for stage, values in timed_stages(models["lr"])}
    whole = found.pop(WHOLE)
    assert min(found.values()) > 0
    assert whole > found["model call"]
