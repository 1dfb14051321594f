"""Waiting in a queue with several servers, from the textbook.

M/M/c and Erlang C: Erlang 1917; here after Adan and Resing, Queueing Systems (2015), chapter 5.
General service and arrivals, G/G/c: Allen and Cunneen's approximation scales the wait of M/M/c by
the mean of the squared coefficients of variation of the times between arrivals and of service
(Allen, Probability, Statistics and Queueing Theory, 2nd edition 1990, section 5.3). It is exact for
M/M/c and, in the mean, for M/G/1 (Pollaczek and Khinchine).
"""

import math


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


def wait_quantile(
    share: float, servers: int, rate: float, service_time: float, variability: float = 1.0
) -> float:
    """Time in the queue that ``share`` of the requests do not exceed, 0 < share < 1.

    The wait of those that wait is exponential: exact for M/M/c, and the heavy-traffic limit of
    G/G/c (Kingman 1961), here with the mean of `mean_wait`, whose other arguments it shares.

    Raises:
        ValueError: the servers cannot carry the load.
    """
    waits = erlang_c(servers, rate * service_time)
    if waits <= 1 - share:
        return 0.0
    mean_of_waiting = mean_wait(servers, rate, service_time, variability) / waits
    return mean_of_waiting * math.log(waits / (1 - share))
