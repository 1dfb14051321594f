"""Memory and processor time of a process with its descendants."""

import subprocess
import sys

import psutil

from bench.usage import CpuClock, pss_bytes

WORK = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ninput()"


def test_memory_is_that_of_all_processes() -> None:
    """Proportional set sizes add up; a process that has gone has none."""
    own = psutil.Process()
    assert 2**20 < pss_bytes([own]) <= own.memory_info().rss


def test_processor_time_is_that_of_new_processes_too() -> None:
    """A child that starts under load counts from its start, and what was used before does not."""
    own = psutil.Process()
    clock = CpuClock(own.children)
    command = [sys.executable, "-c", WORK]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        used = clock.seconds()
        after = CpuClock(own.children)
        assert after.seconds() < used
        child.communicate(b"\n")
    assert used >= 0.25


def test_processor_time_by_name() -> None:
    """Of a system, the part whose processes have a name that begins so."""
    own = psutil.Process()
    clock = CpuClock(lambda: [own])
    name = own.cmdline()[0].rpartition("/")[2]
    while (whole := clock.seconds()) < 0.05:
        sum(range(10_000))
    assert whole <= clock.seconds("other", name[:4]) <= clock.seconds()
    assert clock.seconds("other") == 0


def test_processes_that_have_gone_use_nothing() -> None:
    """A system that has stopped is no error."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        gone = psutil.Process(child.pid)
    assert CpuClock(lambda: [gone]).seconds() == 0
