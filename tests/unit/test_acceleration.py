"""Comet is on while a block needs it, and blocks that read in different ways do not meet."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from batchscore.scoring.acceleration import accelerated


def make_session() -> tuple[Any, dict[str, str]]:
    settings: dict[str, str] = {}
    return SimpleNamespace(conf=SimpleNamespace(set=settings.__setitem__)), settings


def test_comet_is_off_once_the_last_block_ends() -> None:
    spark, settings = make_session()
    with accelerated(spark, verify=True):
        with accelerated(spark, verify=True):
            assert settings["spark.comet.scan.enabled"] == "false"
        assert settings["spark.comet.enabled"] == "true"
    assert settings["spark.comet.enabled"] == "false"


def test_a_block_waits_for_those_that_read_the_other_way() -> None:
    spark, settings = make_session()
    seen: list[str] = []

    def read_natively() -> None:
        with accelerated(spark, verify=False):
            seen.append(settings["spark.comet.scan.enabled"])

    other = threading.Thread(target=read_natively)
    with accelerated(spark, verify=True):
        other.start()
        other.join(0.2)
        assert (seen, settings["spark.comet.scan.enabled"]) == ([], "false")
    other.join(10)
    assert seen == ["true"]
    assert settings["spark.comet.enabled"] == "false"
