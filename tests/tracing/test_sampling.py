"""Which requests are traced, and what the sampler that Ray made does from then on."""

import random
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBasedTraceIdRatio
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serve_app.tracing.sampling import NOT_SAMPLED, Caller, Sampling, caller_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENTS = [
    f"00-{TRACE}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-00",
    f"00-{TRACE}-{SPAN}-03",
    f"cc-{TRACE}-{SPAN}-01-what-comes-later",
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE.upper()}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}",
    f"00-{TRACE}-{SPAN}-01-what-version-0-has-not",
    f"00-{TRACE}-{SPAN}-01-",
    f" 00-{TRACE}-{SPAN}-01\t",
    "nonsense",
    "",
    NOT_SAMPLED.decode(),
]


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    """As Ray makes it."""
    made = TracerProvider(sampler=ParentBasedTraceIdRatio(0.25))
    yield made
    made.shutdown()


def test_the_ratio_is_kept(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of what has no caller, as the sampler had it."""
    found = Sampling(provider)
    assert found.ratio == 0.25
    for number, is_traced in ((0.2499, True), (0.25, False), (0.99, False)):
        monkeypatch.setattr(random, "random", lambda number=number: number)
        assert found.wants(None) is is_traced


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_all_or_nothing(provider: TracerProvider, ratio: float) -> None:
    """The ends of the range hold for each of many requests."""
    found = Sampling(provider)
    found.ratio = ratio
    assert {found.wants(None) for _ in range(1000)} == {ratio == 1.0}


@pytest.mark.parametrize("parent", PARENTS)
def test_a_caller_decides_as_the_sdk_reads_it(provider: TracerProvider, parent: str) -> None:
    """A parent that the SDK does not take for one leaves it to the ratio."""
    found = Sampling(provider)
    context = TraceContextTextMapPropagator().extract({"traceparent": parent})
    caller = trace.get_current_span(context).get_span_context()
    for ratio in (0.0, 1.0):
        found.ratio = ratio
        expected = caller.trace_flags.sampled if caller.is_valid else bool(ratio)
        assert found.wants(caller_of(parent.encode())) == expected


@pytest.mark.parametrize("parent", PARENTS)
def test_a_caller_is_the_one_that_the_sdk_reads(parent: str) -> None:
    """Its trace, its span and its flags, or none."""
    context = TraceContextTextMapPropagator().extract({"traceparent": parent})
    caller = trace.get_current_span(context).get_span_context()
    expected = Caller(caller.trace_id, caller.span_id, int(caller.trace_flags))
    assert caller_of(parent.encode()) == (expected if caller.is_valid else None)


def test_what_is_handed_on_is_traced_and_what_is_marked_is_not(provider: TracerProvider) -> None:
    """The decision has been made: the provider's sampler makes no other."""
    Sampling(provider)
    tracer = provider.get_tracer("ray")
    assert all(tracer.start_span("request").is_recording() for _ in range(100))
    context = TraceContextTextMapPropagator().extract({"traceparent": NOT_SAMPLED.decode()})
    assert not tracer.start_span("request", context).is_recording()


def test_the_ratio_is_known_to_every_server_of_a_process(provider: TracerProvider) -> None:
    """HTTP and gRPC ask one after the other; the first has taken the sampler's place."""
    assert [Sampling(provider).ratio for _ in range(3)] == [0.25] * 3


def test_another_sampler_is_refused() -> None:
    """Its ratio is not known."""
    with pytest.raises(TypeError, match="no ratio in the sampler AlwaysOnSampler"):
        Sampling(TracerProvider(sampler=ALWAYS_ON))


def test_a_process_that_traces_nothing_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the SDK's provider no span is made."""
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    assert Sampling.of_process() is None
