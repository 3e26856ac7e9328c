"""The first signal is remembered; the second leaves at once."""

from __future__ import annotations

import os
import signal

import pytest

from neobert.errors import Terminated
from neobert.training.signals import StopSignal


@pytest.mark.parametrize(
    ("number", "status", "second"), [(signal.SIGTERM, 143, Terminated), (signal.SIGINT, 130, KeyboardInterrupt)]
)
def test_first_and_second(
    number: int, status: int, second: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert stop.number == 0
        os.kill(os.getpid(), number)
        assert stop.exit_status == status
        assert "this step is finished and saved first" in capfd.readouterr().err
        with pytest.raises(second):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
