"""The size of a call is found from calls that are made anyway."""

from __future__ import annotations

import pytest

from batchscore.kernel.batch_sizes import CALLS, SIZES, BatchProbe


@pytest.mark.parametrize(
    ("speeds", "batch", "chosen"),
    [
        ((1.0, 1.0, 1.0), 16_384, 16_384),  # alike: the largest
        ((2.0, 1.0, 1.0), 16_384, 1024),
        ((1.0, 1.5, 1.48), 16_384, 16_384),
        ((1.0, 1.5, 1.4), 16_384, 4096),
        ((1.0, 1.2, 9.0), 10_000, 4096),  # no batch has 16,384 rows
        ((1.0, 1.2, 9.0), 500, None),
    ],
)
def test_the_fastest_size_is_chosen(speeds: tuple[float, ...], batch: int, chosen: int | None) -> None:
    probe = BatchProbe()
    for _ in range(20):
        probe.skip(batch)
        step = probe.size()
        for start in range(0, batch, step):
            rows = min(step, batch - start)
            probe.add(rows, rows / speeds[SIZES.index(step)])
    assert probe.chosen == chosen


def test_the_first_call_of_a_size_does_not_count() -> None:
    probe = BatchProbe()
    for size in SIZES:
        probe.add(size, 1000.0)
        for _ in range(CALLS):
            assert probe.size() == size
            probe.add(size, size / 2.0 if size == 4096 else size)
    assert probe.chosen == 4096
