from __future__ import annotations

import dataclasses
import pickle
import re
from pathlib import Path

import pytest
from jobs_in_yaml import FULL, load_text

from batchscore.config import (
    FeatureConfig,
    ImputeConfig,
    InputConfig,
    IntervalConfig,
    JobConfig,
    ModelConfig,
    OutputConfig,
    to_plain,
    yaml_key,
)
from batchscore.loading import find_faults
from batchscore.patterns import DURATION, MODEL_URI, NAME, duration_s

JOB = JobConfig(
    job="j",
    interval=IntervalConfig(grain="snapshot"),
    input=InputConfig(table="a/t"),
    model=ModelConfig(uri="models:/m/1"),
    output=OutputConfig(scores="a/s"),
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("6h", 21_600), ("7d", 604_800), ("0s", 0), ("", 0)]
)
def test_duration(text: str, seconds: int) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(("pattern", "text"), [(NAME, "a"), (DURATION, "6h"), (MODEL_URI, "models:/m/1")])
def test_patterns_take_no_line_end(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.match(text)
    assert not pattern.match(text + "\n")


@pytest.mark.parametrize(
    ("uri", "groups"),
    [
        ("models:/delay@champion", ("delay", "champion", None)),
        ("models:/delay/12", ("delay", None, "12")),
        ("models:/a b.c-d_e/1", ("a b.c-d_e", None, "1")),
        ("models:/delay", None),
        ("models:/delay/latest", None),
        ("models:/delay/0", None),
        ("models:/delay/Production", None),
        ("models:/../x/1", None),
        ("models://host/delay/1", None),
        ("runs:/abc/model", None),
        ("models:/delay@a@b", None),
        ("models:/delay@champion; rm -rf /", None),
    ],
)
def test_model_uri(uri: str, groups: tuple[str | None, ...] | None) -> None:
    found = MODEL_URI.match(uri)
    assert (found.groups() if found else None) == groups


def test_yaml_keys_have_no_trailing_underscore() -> None:
    assert [yaml_key(field.name) for field in dataclasses.fields(FeatureConfig)] == [
        "name",
        "sql",
        "from",
        "encode",
        "on_null",
    ]


def test_plain_form_has_only_json_values_and_yaml_keys() -> None:
    feature = FeatureConfig(name="a", from_="w.t", on_null=ImputeConfig(impute=1))
    assert to_plain(feature) == {"name": "a", "sql": None, "from": "w.t", "encode": None, "on_null": {"impute": 1}}
    assert to_plain(JOB)["input"]["key"] == []


def test_tables_beside_the_scores() -> None:
    output = OutputConfig(scores="a/s/", audit="b/audit")
    assert (output.quarantine_table, output.audit_table) == ("a/s_quarantine", "b/audit")


def test_config_is_frozen_and_crosses_processes(tmp_path: Path) -> None:
    config = load_text(tmp_path, FULL).config
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.job = "x"  # type: ignore[misc]


def test_a_config_made_in_python_meets_the_same_rules() -> None:
    assert list(find_faults(JOB)) == []
    faulty = dataclasses.replace(JOB, job="a-b", interval=IntervalConfig())
    assert [(finding.path, finding.code) for finding in find_faults(faulty)] == [
        (("job",), "bad-name"),
        (("interval",), "missing-key"),
    ]
