"""What tests of whole runs in this process share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from crashes import Crash

from batchscore import hooks


@pytest.fixture
def crash_at() -> Iterator[Callable[[str], None]]:
    """Have the next run die at a point."""

    def arm(point: str) -> None:
        def tell(reached: str) -> None:
            if reached == point:
                hooks.listen(None)
                raise Crash(point)

        hooks.listen(tell)

    yield arm
    hooks.listen(None)
