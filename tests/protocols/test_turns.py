"""Long requests that are ready together are worked on one after the other, in between the loop."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from serve_app.protocols.turns import BYTES_PER_TURN, Turns
from tests.support.in_process import ask_together, make_routes
from tests.support.iris_requests import BATCH, PREDICT, ROW

TICK = "tick"
LONG = 3 * BYTES_PER_TURN
SHARED = BYTES_PER_TURN // 4


def worked_on(sizes: Sequence[int], *, cancelled: Sequence[int] = ()) -> list[int | str]:
    """Places of the requests in the order of their work, with a `TICK` at each turn of the loop.

    Args:
        sizes: of the bodies that are ready together.
        cancelled: places of those whose clients go away while they wait.
    """
    done: list[int | str] = []

    async def work(turns: Turns, place: int, size: int) -> None:
        await turns(size)
        done.append(place)

    async def go() -> None:
        turns = Turns()
        tasks = [asyncio.create_task(work(turns, *each)) for each in enumerate(sizes)]
        loop = asyncio.get_running_loop()
        for _ in range(3 * len(sizes)):
            loop.call_soon(done.append, TICK)
            await asyncio.sleep(0)
            for place in cancelled:
                tasks[place].cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)

    asyncio.run(go())
    return done


def per_turn(done: Sequence[int | str]) -> list[list[int]]:
    """What was worked on in each turn in which anything was."""
    turns: list[list[int]] = [[]]
    for each in done:
        if isinstance(each, int):
            turns[-1].append(each)
        else:
            turns.append([])
    return [turn for turn in turns if turn]


def test_a_long_body_has_a_turn_for_itself() -> None:
    """In order; in the other turns' share the loop accepts connections and reads."""
    assert per_turn(worked_on([LONG] * 4)) == [[0], [1], [2], [3]]


def test_bodies_that_are_not_long_share_a_turn() -> None:
    """As many as fit; none overtakes another."""
    assert per_turn(worked_on([SHARED] * 6)) == [[0, 1, 2, 3], [4, 5]]
    assert per_turn(worked_on([SHARED, LONG, SHARED, SHARED])) == [[0], [1], [2, 3]]


def test_clients_that_go_away_hold_up_nobody() -> None:
    """Whether they wait, or have just been given their turn."""
    assert per_turn(worked_on([LONG] * 6, cancelled=[1, 2, 4])) == [[0], [3], [5]]
    assert per_turn(worked_on([LONG] * 3, cancelled=[0, 1, 2])) == [[0]]


def test_a_row_is_answered_between_long_requests(iris: Path) -> None:
    """It came last; it does not wait for all of them."""
    routes = make_routes(iris)
    batch = json.dumps({"instances": [ROW] * 500}).encode()
    row = json.dumps(ROW).encode()
    order = ask_together(routes, [*[(BATCH, batch)] * 10, (PREDICT, row)])
    assert order.index(10) < 3
    assert [place for place in order if place < 10] == list(range(10))


def test_a_row_is_answered_within_a_long_request(iris: Path) -> None:
    """It came after a batch of many rows, which is parsed, predicted and answered in turns."""
    routes = make_routes(iris)
    batch = json.dumps({"instances": [ROW] * 500}).encode()
    assert ask_together(routes, [(BATCH, batch), (PREDICT, json.dumps(ROW).encode())]) == [1, 0]
