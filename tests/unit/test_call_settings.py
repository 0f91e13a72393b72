"""The rows and threads of a call are found from calls that are made anyway."""

from __future__ import annotations

import pytest

from batchscore.kernel.call_settings import CALLS, SIZES, CallProbe, Setting

ONE = (1.0, 1.0, 1.0)
FASTEST: list[tuple[dict[int, tuple[float, ...]], tuple[int, ...], int, Setting | None]] = [
    ({1: ONE}, SIZES, 16_384, Setting(1, 16_384)),  # alike: the largest
    ({1: (2.0, 1.0, 1.0)}, SIZES, 16_384, Setting(1, 1024)),
    ({1: (1.0, 1.5, 1.48)}, SIZES, 16_384, Setting(1, 16_384)),
    ({1: (1.0, 1.5, 1.4)}, SIZES, 16_384, Setting(1, 4096)),
    ({1: (1.0, 1.2, 9.0)}, SIZES, 10_000, Setting(1, 4096)),  # no batch has 16,384 rows
    ({1: (1.0, 1.2, 9.0)}, SIZES, 500, None),
    ({1: ONE, 2: (1.0, 1.9, 1.7)}, SIZES, 16_384, Setting(2, 4096)),
    ({1: ONE, 2: (1.02, 1.02, 1.02)}, SIZES, 16_384, Setting(1, 16_384)),  # nearly alike: the fewest threads
    ({1: ONE, 2: (1.0, 1.5, 9.0), 4: (1.0, 2.5, 9.0)}, SIZES, 10_000, Setting(4, 4096)),
    ({1: (1.0,), 2: (1.5,), 3: (1.4,)}, (64,), 10_000, Setting(2, 64)),  # the job says the rows
    ({1: (1.0,)}, (64,), 3, Setting(1, 64)),  # nothing to find
]


@pytest.mark.parametrize(("speeds", "sizes", "batch", "chosen"), FASTEST)
def test_the_fastest_setting_is_chosen(
    speeds: dict[int, tuple[float, ...]], sizes: tuple[int, ...], batch: int, chosen: Setting | None
) -> None:
    probe = CallProbe(tuple(speeds), sizes)
    for _ in range(40):
        probe.skip(batch)
        setting = probe.setting()
        for start in range(0, batch, setting.rows):
            rows = min(setting.rows, batch - start)
            probe.add(setting, rows, rows / speeds[setting.threads][sizes.index(setting.rows)])
    assert probe.chosen == chosen
    assert (probe.threads_chosen, probe.rows_chosen) == (chosen or (1, None))


def test_the_first_call_of_a_setting_does_not_count() -> None:
    probe = CallProbe()
    for size in SIZES:
        setting = Setting(1, size)
        probe.add(setting, size, 1000.0)
        for _ in range(CALLS):
            assert probe.setting() == setting
            probe.add(setting, size, size / 2.0 if size == 4096 else size)
    assert probe.chosen == Setting(1, 4096)


def test_calls_of_another_setting_do_not_count() -> None:
    probe = CallProbe((1, 2), (64,))
    for _ in range(2 * CALLS + 2):  # a batch goes on as it was begun
        probe.add(Setting(1, 64), 64, 1.0)
    assert (probe.chosen, probe.setting()) == (None, Setting(2, 64))


def test_batches_that_become_too_small_end_the_search() -> None:
    probe = CallProbe((1, 2), (64, 128))
    for _ in range(CALLS + 1):
        probe.add(Setting(1, 64), 64, 1.0)
    probe.skip(100)
    assert probe.setting() == Setting(2, 64)  # no batch for 128 rows, but for more threads
    probe.skip(10)
    assert probe.chosen == Setting(1, 64)
