"""The first signal is remembered; the second leaves at once."""

from __future__ import annotations

import os
import signal

import pytest

from neobert.training.signals import StopSignal


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_first_and_second(number: int, status: int) -> None:
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert stop.number == 0
        os.kill(os.getpid(), number)
        assert stop.exit_status == status
        with pytest.raises(SystemExit) as left:
            os.kill(os.getpid(), number)
        assert left.value.code == status
    assert signal.getsignal(number) is before
