"""What goes through the pipes arrives as it was."""

import io
from typing import Any

import numpy as np
import pytest

from serve_app.telemetry.plain_spans import PlainSpan
from serve_app.tracing.frames import Report, read_spans, report_in, write_spans


def span_with(**attributes: Any) -> PlainSpan:
    parent = (2**64 - 1, True)
    return ("é", "s", "", 0, 2**128 - 1, 2, 1, "", parent, 1, 2, (attributes,), (), 0, None)


def test_frames_arrive_in_order() -> None:
    """Each with its spans; then comes the end."""
    pipe = io.BytesIO()
    frames = [[span_with(a=1), span_with(a=["x", "y"])], [span_with(a=1.5, b=None, c=b"d")]]
    for spans in frames:
        write_spans(pipe, spans)
    pipe.seek(0)
    assert [read_spans(pipe), read_spans(pipe), read_spans(pipe)] == [*frames, None]


@pytest.mark.parametrize("cut", [1, 10])
def test_a_frame_that_was_cut_off_is_the_end(cut: int) -> None:
    """Its writer was killed."""
    pipe = io.BytesIO()
    write_spans(pipe, [span_with()])
    short = io.BytesIO(pipe.getvalue()[:-cut][: 2 if cut == 1 else None])
    assert read_spans(short) is None


def test_values_of_other_types_arrive_as_what_they_are_like() -> None:
    """The reader has no NumPy; what is like nothing arrives as its text."""
    pipe = io.BytesIO()
    values = {"n": np.float64(1.5), "s": np.str_("x"), "t": (np.str_("y"), True), "o": {1: object}}
    write_spans(pipe, [span_with(**values)])
    pipe.seek(0)
    (span,) = read_spans(pipe) or []
    (attributes,) = span[11]
    assert attributes == {"n": 1.5, "s": "x", "t": ("y", True), "o": {1: str(object)}}
    assert [type(value) for value in attributes.values()] == [float, str, tuple, dict]


def test_a_report_is_one_line() -> None:
    """Whatever is in it."""
    report = Report("failed", 3, "two\nlines", "repair é")
    assert report.line().count("\n") == 1
    assert report_in(report.line()) == report
