"""Waiting in a queue with several servers, from the textbook.

M/M/c and Erlang C: Erlang 1917; here after Adan and Resing, Queueing Systems (2015), chapter 5.
General service and arrivals, G/G/c: Allen and Cunneen's approximation scales the wait of M/M/c by
the mean of the squared coefficients of variation of the times between arrivals and of service
(Allen, Probability, Statistics and Queueing Theory, 2nd edition 1990, section 5.3). It is exact for
M/M/c and, in the mean, for M/G/1 (Pollaczek and Khinchine).
"""

import math

from scipy.optimize import brentq

SAME = 1e-6
"""Means this near, relatively, are the same: the general formula divides by their difference."""


def erlang_c(servers: int, offered_load: float) -> float:
    """Probability that a request has to wait in M/M/c.

    Args:
        servers: number of servers, c >= 1.
        offered_load: arrival rate over the service rate of one server, in Erlang; 0 <= a < c.

    Raises:
        ValueError: the arguments are out of range; from c Erlang on, the queue grows without end.
    """
    if servers < 1 or not 0 <= offered_load < servers:
        raise ValueError(f"{servers} servers cannot carry an offered load of {offered_load} Erlang")
    # The recursion for Erlang B neither overflows nor cancels, unlike the sums of factorials.
    blocking = 1.0
    for server in range(1, servers + 1):
        blocking = offered_load * blocking / (server + offered_load * blocking)
    return blocking / (1 - (offered_load / servers) * (1 - blocking))


def mean_wait(servers: int, rate: float, service_time: float, variability: float = 1.0) -> float:
    """Mean time in the queue, without service, in the unit of ``service_time``.

    Args:
        servers: number of servers.
        rate: arrivals per unit of time.
        service_time: mean time that one server spends on one request.
        variability: mean of the squared coefficients of variation of the times between arrivals
            and of service: 1 for M/M/c, 0.5 for Poisson arrivals and a constant service time.

    Raises:
        ValueError: the servers cannot carry the load.
    """
    load = rate * service_time
    return variability * erlang_c(servers, load) * service_time / (servers - load)


def response_quantile(
    share: float, *, fixed: float, variable: float, waits: float = 0.0, mean_of_waiting: float = 0.0
) -> float:
    """Response time that ``share`` of the requests do not exceed, 0 < share < 1.

    A response takes a fixed time, an exponential time and, for some, an exponential wait; the three
    are independent. With ``fixed=0`` and ``variable`` the mean service time, this is M/M/c.
    The wait of those that wait is exponential in M/M/c, and in heavy traffic in G/G/c (Kingman
    1961). All times have the same unit.

    Args:
        share: such as 0.99.
        fixed: part of a response without a wait that never changes.
        variable: mean of the part that does.
        waits: probability of a wait, as of `erlang_c`.
        mean_of_waiting: mean wait of the requests that wait.
    """
    excess = 1 - share
    if mean_of_waiting <= 0:
        waits = 0.0
    if variable <= 0 and waits <= excess:
        return fixed
    high = (variable + mean_of_waiting) * (1 + math.log(1 / excess)) * 2
    root = brentq(lambda time: _tail(time, variable, waits, mean_of_waiting) - excess, 0.0, high)
    return fixed + float(root)


def _tail(time: float, variable: float, waits: float, mean_of_waiting: float) -> float:
    """Probability that the variable time and the wait together exceed ``time``."""
    if variable <= 0:
        return waits * math.exp(-time / mean_of_waiting)
    alone = math.exp(-time / variable)
    if waits <= 0:
        return alone
    if abs(mean_of_waiting - variable) < SAME * variable:
        both = (1 + time / variable) * alone
    else:
        both = (mean_of_waiting * math.exp(-time / mean_of_waiting) - variable * alone) / (
            mean_of_waiting - variable
        )
    return (1 - waits) * alone + waits * both
