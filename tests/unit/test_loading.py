"""Good job files, overrides, canonical form, YAML and JSON Schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs_in_yaml import FULL, load_text, make_text

from batchscore.config import FeatureConfig, ImputeConfig, JobConfig, LookupConfig, to_plain
from batchscore.errors import ConfigError
from batchscore.expectations import CORE
from batchscore.loading import canonical_config, config_sha256, dump_yaml, job_schema, load_job
from batchscore.loading.scalars import resolve_scalar


def test_full_job(tmp_path: Path) -> None:
    job = load_text(tmp_path, FULL)
    assert (job.file, job.folder) == (str(tmp_path / "job.yaml"), str(tmp_path))
    assert job.config.interval.time_zone == "America/New_York"
    assert job.config.input.key == ("flight_id",)
    assert job.config.checks.max_quarantine_pct == 5.0
    assert job.config.lookups["weather"] == LookupConfig(
        table="lake/weather", on=("origin",), at="due", known_at="seen", max_age="6h", columns=("temp", "visib")
    )
    assert job.config.lookups["weather"].max_age_s == 21_600
    assert job.config.features.columns == (
        FeatureConfig(name="dep_hour", sql="hour(due)"),
        FeatureConfig(name="temp", from_="weather.temp", on_null=ImputeConfig(impute=55.0)),
        FeatureConfig(name="distance", on_null="fail"),
    )
    assert job.config.model.outputs == {"probability_late": "probabilities[:, 1]"}
    assert job.config.engine.conf == {"spark.sql.shuffle.partitions": "2"}


def test_short_job_has_every_default(tmp_path: Path) -> None:
    config = load_text(tmp_path, make_text()).config
    assert config.scoring.batch_rows == "auto"
    assert config.input.on_duplicate_key == "fail"
    assert config.output.quarantine_table == "lake/scores_quarantine"
    assert config.output.audit_table == "lake/scores_audit"


def test_relative_file_has_an_absolute_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "a.yaml").write_text(make_text())
    monkeypatch.chdir(tmp_path)
    job = load_job("configs/a.yaml")
    assert (job.file, job.folder) == ("configs/a.yaml", str(tmp_path / "configs"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # YAML 1.2.2, section 10.3.2; PyYAML reads the starred ones otherwise
        ("no", "no"),  # *
        ("on", "on"),  # *
        ("y", "y"),
        ("010", 10),  # *
        ("0o17", 15),  # *
        ("0x1F", 31),
        ("12:30", "12:30"),  # *
        ("12:30:45", "12:30:45"),  # *
        ("1e3", 1000.0),  # *
        ("1_000", "1_000"),  # *
        ("2013-10-01", "2013-10-01"),  # *
        ("+12", 12),
        ("-0", 0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.5E-3", -0.0015),
        ("0b11", "0b11"),  # *
        ("True", True),
        ("tRUE", "tRUE"),
        ("~", None),
        ("NULL", None),
        ("", None),
        ("9007199254740991", 2**53 - 1),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("٣", "٣"),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found, problem = resolve_scalar(text)
    assert (found, type(found), problem) == (value, type(value), "")


@pytest.mark.parametrize(
    "text", ["9007199254740992", "-9007199254740992", "9" * 9999, "1e400", ".inf", "-.INF", ".nan"]
)
def test_numbers_that_json_cannot_carry(text: str) -> None:
    found, problem = resolve_scalar(text)
    assert found == 0
    assert problem.startswith("expected a")


def test_scalars_in_a_job(tmp_path: Path) -> None:
    text = make_text(
        engine="engine: {conf: {a: no, b: 12:30, c: '010', d: '1e3'}}",
        scoring="scoring: {batch_rows: 010}",
        checks="checks: {max_quarantine_pct: 1e1}",
    )
    config = load_text(tmp_path, text).config
    assert config.engine.conf == {"a": "no", "b": "12:30", "c": "010", "d": "1e3"}
    assert (config.scoring.batch_rows, config.checks.max_quarantine_pct) == (10, 10.0)


def test_boolean_and_number_keep_their_type_in_impute(tmp_path: Path) -> None:
    values = ["1", "1.0", "true", "'1'"]
    columns = ", ".join(f"{{name: f{i}, on_null: {{impute: {value}}}}}" for i, value in enumerate(values))
    config = load_text(tmp_path, make_text(features=f"features: {{columns: [{columns}]}}")).config
    found = [column.on_null.impute for column in config.features.columns if isinstance(column.on_null, ImputeConfig)]
    assert [(type(value), value) for value in found] == [(int, 1), (float, 1.0), (bool, True), (str, "1")]


# --set


def get(config: JobConfig, path: str) -> Any:
    value = to_plain(config)
    for part in path.split("/"):
        value = value[int(part) if part.isdigit() else part]
    return value


@pytest.mark.parametrize(
    ("item", "path", "value"),
    [
        ("job=other", "job", "other"),
        ("scoring.batch_rows=4096", "scoring/batch_rows", 4096),
        ("checks.max_quarantine_rows=7", "checks/max_quarantine_rows", 7),
        ("checks.input=", "checks/input", None),
        ("checks.input=a=b.json", "checks/input", "a=b.json"),
        ("input.key=[a, b]", "input/key", ["a", "b"]),
        ("input.key.0=id", "input/key/0", "id"),
        ("features.columns.2.on_null=nan", "features/columns/2/on_null", "nan"),
        ("features.columns.2.on_null={impute: 1}", "features/columns/2/on_null", {"impute": 1}),
        ("features.columns.2.on_null.impute=1", "features/columns/2/on_null", {"impute": 1}),
        ("features.columns.1={name: temp}", "features/columns/1/from", None),
        ("lookups.weather.max_age=1d", "lookups/weather/max_age", "1d"),
        ("lookups.planes={table: a/p, on: [tail], columns: [seats]}", "lookups/planes/table", "a/p"),
        ("engine.conf.spark.sql.shuffle.partitions='9'", "engine/conf/spark.sql.shuffle.partitions", "9"),
        ("engine.conf.spark.new.one=on", "engine/conf/spark.new.one", "on"),
        ("model.outputs.p=out.x", "model/outputs/p", "out.x"),
        ("model.inputs.features.1=dep_hour", "model/inputs/features/1", "dep_hour"),
        ("model.uri=models:/m@challenger", "model/uri", "models:/m@challenger"),
        ('registry.uri="http://localhost:5000"', "registry/uri", "http://localhost:5000"),
        ("engine.master='local[2]'", "engine/master", "local[2]"),
    ],
)
def test_set_overrides_a_value(tmp_path: Path, item: str, path: str, value: object) -> None:
    assert get(load_text(tmp_path, FULL, item).config, path) == value


def test_set_makes_a_section_that_the_file_leaves_out(tmp_path: Path) -> None:
    items = ["lookups.w.table=a/w", "lookups.w.on=[k]", "lookups.w.columns=[t]", "scoring.device=cpu"]
    config = load_text(tmp_path, make_text(), *items).config
    assert config.lookups == {"w": LookupConfig(table="a/w", on=("k",), columns=("t",))}
    assert config.scoring.device == "cpu"


def test_set_mends_a_fault_of_the_file(tmp_path: Path) -> None:
    assert load_text(tmp_path, make_text(input="input: 5"), "input.table=a/t").config.input.table == "a/t"


def test_the_last_set_wins(tmp_path: Path) -> None:
    assert load_text(tmp_path, FULL, "job=a", "job=b").config.job == "b"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            "scoring.batch_rows=0",
            "--set scoring.batch_rows=...: out-of-range: `scoring.batch_rows`: expected 'auto' or",
        ),
        ("job=5", "--set job=...: wrong-type: `job`: expected text; found a whole number. Put it in quotes"),
        ("job=", "--set job=...: wrong-type: `job`: expected text; found nothing"),
        ("interval.grain=dya", "--set interval.grain=...: wrong-choice: "),
        ("interval.grain=dya", "found 'dya'; did you mean 'day'?"),
        ("scorign.device=cpu", "'scorign': no such key; expected job, interval"),
        ("scorign.device=cpu", "did you mean 'scoring'?"),
        ("scoring.devcie=cpu", "--set scoring.devcie=...: unknown-key: 'devcie': no such key"),
        ("features.columns.x=1", "bad-position: expected the number of a list entry, from 0; found 'x'"),
        ("features.columns.3.name=x", "bad-position: expected a position below 3; found 3"),
        ("features.columns.99999999999999999999=x", "bad-position: expected a position below 3"),
        ("input.key.-1=x", "bad-position: expected the number of a list entry"),
        ("job.name=x", "unknown-key: 'name': the value before it has no keys"),
        ("lookups.weather.tabel=x", "unknown-key: 'tabel': no such key"),
        ("job", "--set: bad-override: expected path.to.key=value"),
        ("=x", "--set: bad-override: expected path.to.key=value"),
        ("a..b=x", "--set: bad-override: expected path.to.key=value"),
        ("job=*a", "--set job=...: alias: aliases are not allowed"),
        ("job=&a x", "--set job=...: anchor: "),
        ("job=!!python/name:os.system", "--set job=...: tag: "),
        ("job=!x y", "--set job=...: tag: "),
        ("engine.conf={<<: {a: b}}", "merge-key: "),
        ("engine.conf={a: b, a: c}", "doubled-key: 'a' is given twice"),
        ("engine.conf=" + "[" * 40, "too-deep: "),
        ("job=a: b", "bad-override: expected a single value, or a list or mapping in [] or {}"),
        ("job=a\n---\nb", "many-documents: "),
        ("job=[a", "yaml-syntax: "),
        ("job=@x", "yaml-syntax: "),
        ("job=a\0b", "bad-character: U+0000"),
        ("scoring.batch_rows=" + "9" * 99, "out-of-range: expected a whole number within"),
        ("input.table=${env:BATCHSCORE_NOT_SET}", "--set input.table=...: reference-missing: "),
        ("job=${env:HOME}", "--set job=...: reference-not-allowed: "),
    ],
)
def test_bad_set(tmp_path: Path, item: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, FULL, item)
    assert message in str(caught.value)
    assert str(caught.value).endswith(f"1 fault in {tmp_path / 'job.yaml'}")


def test_faults_of_file_and_sets_come_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 faults in ") as caught:
        load_text(tmp_path, make_text(job="job: 5"), "scoring.device=gpu", "x=1")
    heads = [line.partition(" ")[0] for line in str(caught.value).splitlines() if not line.startswith(" ")]
    assert heads == [f"{tmp_path / 'job.yaml'}:1:6:", "--set", "--set", "3"]


# canonical form


def test_hash_does_not_depend_on_order_or_on_defaults_spelled_out(tmp_path: Path) -> None:
    short = load_text(tmp_path, make_text()).config
    other = load_text(tmp_path, "\n".join(reversed(make_text().splitlines()))).config
    spelled = load_text(
        tmp_path,
        make_text(
            input="input: {format: delta, table: lake/flights, key: []}",
            output="output: {audit: lake/scores_audit, quarantine: lake/scores_quarantine, scores: lake/scores}",
            checks="checks: {max_quarantine_pct: 100, input: null}",
            scoring="scoring: {batch_rows: auto}",
        ),
    ).config
    assert config_sha256(short) == config_sha256(other) == config_sha256(spelled)
    assert re.fullmatch("[0-9a-f]{64}", config_sha256(short))


@pytest.mark.parametrize("item", ["job=other", "input.key=[a]", "scoring.batch_rows=1", "engine.conf.a.b=c"])
def test_hash_depends_on_every_value(tmp_path: Path, item: str) -> None:
    assert config_sha256(load_text(tmp_path, FULL, item).config) != config_sha256(load_text(tmp_path, FULL).config)


def test_canonical_form_is_sorted_compact_json(tmp_path: Path) -> None:
    text = canonical_config(load_text(tmp_path, FULL).config).decode()
    plain = json.loads(text)
    # RFC 8785 on these values (no exotic numbers or keys) is sorted, compact JSON with whole floats as integers
    assert text == json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plain["features"]["columns"][1] == {
        "name": "temp", "sql": None, "from": "weather.temp", "encode": None, "on_null": {"impute": 55}
    }  # fmt: skip


def test_dump_loads_again_with_every_default(tmp_path: Path) -> None:
    config = load_text(tmp_path, FULL).config
    text = dump_yaml(config)
    assert "on_duplicate_key: fail" in text
    assert "quarantine: lake/scores_quarantine" in text
    assert dump_yaml(load_text(tmp_path, text).config) == text
    assert config_sha256(load_text(tmp_path, text).config) == config_sha256(config)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cn", "Co"]), min_size=1, max_size=30)
    | st.sampled_from(["010", "1e3", "no", "null", "~", "0o7", "0x1f", ".5", ".nan", "12:30", "- a", "a: b", "#", "<<"])
)
def test_dump_loads_again_whatever_the_text(tmp_path: Path, text: str) -> None:
    escaped = json.dumps(text.replace("${", "$"), ensure_ascii=False)
    item = "engine.conf={k: " + escaped + ", " + escaped + ": v}"
    try:
        config = load_text(tmp_path, make_text(), item).config
    except ConfigError as error:
        assert re.search("doubled-key|protected|secret-in-file", str(error))
        return
    assert load_text(tmp_path, dump_yaml(config)).config.engine == config.engine


# JSON Schema


def walk(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for item in schema for found in walk(item)]
    if isinstance(schema, dict):
        return [schema] + [found for item in schema.values() for found in walk(item)]
    return []


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("{column: day, start: 2013-01-01, end: 2014-01-01}", "2014-01-01"),
        ("{column: day, start: '2013-01-01', end: 2014-01-01}", "2014-01-01"),
        ("{column: t, grain: hour, start: 2013-01-01T00, end: 2013-01-01T05Z}", "2013-01-01T05Z"),
        ("{column: day, grain: week, start: 2013-W01, end: 2014-W01}", "2014-W01"),
        ("{column: day, grain: month, end: 2014-01}", "2014-01"),
        ("{column: day, start: 2013-01-01}", None),
    ],
)
def test_a_calendar_needs_no_quotes(tmp_path: Path, text: str, end: str | None) -> None:
    job = load_text(tmp_path, make_text(interval=f"interval: {text}"))
    assert job.config.interval.end == end
    assert load_text(tmp_path, dump_yaml(job.config)).config.interval == job.config.interval


def test_schema_is_closed_described_and_by_yaml_key() -> None:
    schema = job_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "batchscore job"
    assert schema["required"] == ["job", "interval", "input", "model", "output"]
    ours = {**schema, "$defs": {k: v for k, v in schema["$defs"].items() if not k.startswith("Gx")}}
    ours["$defs"]["ExpectationConfig"] = {
        key: value for key, value in ours["$defs"]["ExpectationConfig"].items() if key != "allOf"
    }
    objects = [found for found in walk(ours) if "properties" in found and "type" in found]
    assert len(objects) == 33
    for found in objects:
        assert found["additionalProperties"] is False
        assert found["description"].endswith(".")
        for key, entry in found["properties"].items():
            assert entry["description"], key
            assert "default" in entry or key in found["required"], key
    feature = schema["$defs"]["FeatureConfig"]["properties"]
    assert list(feature) == ["name", "sql", "from", "encode", "on_null"]
    assert feature["on_null"]["default"] == "quarantine"
    assert schema["$defs"]["IntervalConfig"]["properties"]["grain"]["enum"] == [
        "hour",
        "day",
        "week",
        "month",
        "snapshot",
    ]
    assert json.loads(json.dumps(schema)) == schema


def test_schema_is_valid_and_agrees_with_the_loader(tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(job_schema())
    validator.check_schema(validator.schema)
    for text in (FULL, make_text()):
        config = load_text(tmp_path, text).config
        validator.validate(to_plain(config))
    plain = to_plain(load_text(tmp_path, FULL).config)
    for section, key, value in (
        ("input", "x", 1),
        ("scoring", "device", "gpu"),
        ("input", "key", "id"),
        ("job", "", 5),
    ):
        broken = {**plain, section: {**plain[section], key: value} if key else value}
        assert not validator.is_valid(broken), (section, key)


INLINE = [
    ({"type": "expect_column_values_to_be_between", "kwargs": {"column": "x", "min_value": 1}}, True),
    ({"type": "expect_column_values_to_be_between", "kwargs": {"colum": "x", "min_value": 1}}, False),
    ({"type": "expect_column_values_to_be_betwee", "kwargs": {"column": "x", "min_value": 1}}, False),
    ({"expect_row_sql": "a > b", "name": "a above b", "severity": "warning"}, True),
    ({"expect_row_sql": "a > b", "name": "a above b", "severity": "high"}, False),
    (
        {
            "type": "expect_column_values_to_not_be_null",
            "kwargs": {"column": "x", "row_condition": {"type": "nullity", "column": {"name": "y"}, "is_null": True}},
        },
        True,
    ),
]


@pytest.mark.parametrize(("item", "valid"), INLINE)
def test_schema_knows_gx_own_arguments(tmp_path: Path, item: dict[str, Any], valid: bool) -> None:
    schema = job_schema()
    plain = {**to_plain(load_text(tmp_path, make_text()).config), "checks": {"input": [item]}}
    assert jsonschema.Draft202012Validator(schema).is_valid(plain) is valid
    merged = {name.removeprefix("Gx_") for name in schema["$defs"] if name.startswith("Gx_")}
    assert len(merged) == 52  # of 54, two may not stand in a suite
    assert merged <= set(CORE)


# secrets, speed and weight


def test_planted_secrets_show_up_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary, written = "canary-8462-env", "canary-7351-written"
    monkeypatch.setenv("BATCHSCORE_CANARY", canary)
    (tmp_path / "canary").write_text("canary-9573-file\n")
    text = make_text(
        input="input: {table: '${env:BATCHSCORE_CANARY}/t'}",
        registry="registry: {uri: 'postgresql://u:${file:canary}@h/db'}",
        engine="engine: {conf: {spark.x.password: '${env:BATCHSCORE_CANARY}'}}",
    )
    job = load_text(tmp_path, text)
    shown = [repr(job), canonical_config(job.config).decode(), dump_yaml(job.config), json.dumps(job_schema())]
    for items in (["job=5"], ["engine.conf.a.token=" + written, "job=5"], [f"registry.uri=x://u:{written}@h/y"]):
        with pytest.raises(ConfigError) as caught:
            load_text(tmp_path, text, *items)
        shown.append(str(caught.value))
    bad = text.replace("'${env:BATCHSCORE_CANARY}'", f"{written}, spark.y: 5").replace("${file:canary}", written)
    with pytest.raises(ConfigError, match="3 faults in") as caught:
        load_text(tmp_path, bad)
    shown.append(str(caught.value))
    for output in shown:
        assert "canary-" not in output
    assert "${env:BATCHSCORE_CANARY}/t" in shown[2]


def test_loading_is_light_and_fast(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(FULL)
    program = (
        "import sys, time\n"
        "from batchscore.loading import load_job, job_schema\n"
        "load_job(sys.argv[1]); job_schema()\n"
        "heavy = {'pyspark', 'delta', 'mlflow', 'great_expectations', 'onnxruntime', 'pandas', 'numpy', 'pyarrow'}\n"
        "print(time.process_time(), *sorted(heavy & set(sys.modules)))\n"
    )
    best_s = 9.0
    for _ in range(3):  # the fastest of three: the machine may be busy
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "job.yaml")], capture_output=True, text=True, check=True
        )
        spent, *heavy = done.stdout.split()
        assert heavy == []
        best_s = min(best_s, float(spent))
    assert best_s < 0.5


def test_a_wide_job_loads_in_time(tmp_path: Path) -> None:
    columns = "".join(f"    - {{name: column_{number}}}\n" for number in range(1000))
    start = time.process_time()
    job = load_text(tmp_path, make_text() + "features:\n  columns:\n" + columns)
    assert len(job.config.features.columns) == 1000
    assert time.process_time() - start < 2.0
