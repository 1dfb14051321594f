"""Which requests are traced: decided before anything is made for a trace."""

import random
import re
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

TRACEPARENT_HEADER = b"traceparent"
TRACESTATE_HEADER = b"tracestate"
NOT_SAMPLED = b"00-00000000000000000000000000000001-0000000000000001-00"
"""A parent that is not traced, for a request that shall not be."""
_PARENT = re.compile(
    rb"[ \t]*(?!ff|00-.{52}-)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})"
    rb"-([0-9a-f]{2})(?:-.*)?[ \t]*"
)
"""https://www.w3.org/TR/trace-context/#traceparent-header, as the SDK's propagator reads it."""
SAMPLED, RANDOM = 1, 2
"""Trace flags: https://www.w3.org/TR/trace-context-2/#trace-flags."""


class Caller(NamedTuple):
    """The span of another service that a request comes from."""

    trace_id: int
    span_id: int
    flags: int


def caller_of(traceparent: bytes | None) -> Caller | None:
    """The caller that a header names; None if there is none that the SDK would take for one."""
    if traceparent is None or (found := _PARENT.fullmatch(traceparent)) is None:
        return None
    trace_id, span_id, flags = found.groups()
    return Caller(int(trace_id, 16), int(span_id, 16), int(flags, 16))


class _Decided(ParentBased):
    """Samples what it is asked for. It keeps the ratio for the next server of the process."""

    def __init__(self, ratio: float) -> None:
        super().__init__(ALWAYS_ON)
        self.ratio = ratio


class Sampling:
    """Decides for each request: as its caller did, else by the ratio.

    It takes the place of the sampler that Ray has given to the tracer provider, which decides when
    much of a trace has been made. From then on that one samples what it is asked for.
    """

    def __init__(self, provider: TracerProvider) -> None:
        """Take the ratio from the provider's sampler.

        Raises:
            TypeError: the sampler is none that Ray makes.
        """
        sampler: Any = provider.sampler
        if isinstance(sampler, _Decided):
            self.ratio = sampler.ratio
            return
        ratio = getattr(getattr(sampler, "_root", None), "rate", None)
        if ratio is None:
            raise TypeError(f"no ratio in the sampler {sampler.get_description()}")
        self.ratio = float(ratio)
        provider.sampler = _Decided(self.ratio)

    @classmethod
    def of_process(cls) -> "Sampling | None":
        """For the spans of this process; None where none are made."""
        provider = trace.get_tracer_provider()
        return cls(provider) if isinstance(provider, TracerProvider) else None

    def wants(self, caller: Caller | None) -> bool:
        """Whether a request that comes from ``caller`` is traced."""
        if caller is not None:
            return bool(caller.flags & SAMPLED)
        return random.random() < self.ratio  # noqa: S311 - no secret
