"""Drafts of job files: what is filled in, what is left to choose, and that `validate` accepts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchscore.config import JobConfig
from batchscore.drafts import Draft, TableFacts, Wishes, draft_job, job_name
from batchscore.errors import ConfigError
from batchscore.loading import load_job
from batchscore.records import PinnedModel, TensorSpec

FACTS = TableFacts(
    table="tables/flights",
    format="delta",
    columns={
        "flight_id": "bigint",
        "born": "date",
        "at": "timestamp",
        "day": "date",
        "distance": "int",
        "carrier": "string",
        "price": "decimal(10,2)",
        "tags": "array<string>",
    },
    partitions=("day",),
)


def tensor(name: str, *shape: int | None, dtype: str = "tensor(float)") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


CLASSES = (tensor("label", None, dtype="tensor(int64)"), tensor("probabilities", None, 2))


def model(
    *inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = CLASSES, signature: tuple[str, ...] = ()
) -> PinnedModel:
    return PinnedModel(
        uri="models:/late@champion",
        name="late",
        version=3,
        alias="champion",
        sha256="0" * 64,
        size_bytes=1,
        inputs=inputs,
        outputs=outputs,
        signature_inputs=signature,
    )


PACKED = model(tensor("x", None, 2), signature=("distance", "price"))


def wishes(**changes: Any) -> Wishes:
    return Wishes(**{"job": "late", "file": "late.yaml", "registry": "sqlite:///mlflow.db", **changes})


def validated(draft: Draft, folder: Path) -> JobConfig:
    file = folder / "late.yaml"
    file.write_text(draft.text, encoding="utf-8")
    return load_job(file).config


def test_everything_that_matches_is_filled_in(tmp_path: Path) -> None:
    draft = draft_job(FACTS, PACKED, wishes(key=("flight_id",)))
    job = validated(draft, tmp_path)
    assert draft.choices == ()
    assert "CHOOSE" not in draft.text
    assert (job.interval.column, job.interval.grain, job.input.key) == ("day", "day", ("flight_id",))
    assert (job.input.table, job.input.format, job.output.scores) == ("tables/flights", "delta", "tables/late_scores")
    assert [f.name for f in job.features.columns] == ["distance", "price"]
    assert job.model.outputs == {"label": "label", "probabilities_1": "probabilities[:, 1]"}
    assert job.registry.uri == "sqlite:///mlflow.db"


def test_what_does_not_match_is_marked_and_left_out(tmp_path: Path) -> None:
    wanted = model(tensor("x", None, 4), signature=("distance", "carrier", "tags", "prices"))
    draft = draft_job(FACTS, wanted, wishes())
    job = validated(draft, tmp_path)
    assert [f.name for f in job.features.columns] == ["distance"]
    assert job.input.key == ()
    assert draft.choices == (
        "input.key: the columns that identify a row",
        "features.columns: a source for carrier, tags, prices",
    )
    assert '# - {name: carrier, sql: "…"}   # CHOOSE the column is string; it takes tensor(float)' in draft.text
    assert "# CHOOSE the column is array; it takes tensor(float)" in draft.text
    assert "# CHOOSE how it is computed: no column has this name; near: price" in draft.text
    assert "# key: [flight_id]   # CHOOSE" in draft.text


@pytest.mark.parametrize(
    ("inputs", "signature", "features", "choices"),
    [
        pytest.param((tensor("x", None, 2),), (), [], ("features.columns: 2 features",), id="packed, unnamed"),
        pytest.param((tensor("distance", None, 1),), (), ["distance"], (), id="one input of one feature"),
        pytest.param((tensor("distance", None), tensor("price", None)), (), ["distance", "price"], (), id="by input"),
        pytest.param(
            (tensor("x", None, 1),), ("_hidden",), [], ("features.columns: a source for _hidden",), id="reserved"
        ),
        pytest.param(
            (tensor("distance", None, dtype="tensor(int64)"), tensor("carrier", None, dtype="tensor(string)")),
            (),
            ["distance", "carrier"],
            (),
            id="integers and texts",
        ),
        pytest.param(
            (tensor("price", None, dtype="tensor(int64)"), tensor("at", None, dtype="tensor(bool)")),
            (),
            [],
            ("features.columns: a source for price, at",),
            id="types that do not fit",
        ),
    ],
)
def test_features_by_signature_or_input(
    tmp_path: Path,
    inputs: tuple[TensorSpec, ...],
    signature: tuple[str, ...],
    features: list[str],
    choices: tuple[str, ...],
) -> None:
    draft = draft_job(FACTS, model(*inputs, signature=signature), wishes(key=("flight_id",)))
    assert [f.name for f in validated(draft, tmp_path).features.columns] == features
    assert len(draft.choices) == len(choices)
    assert all(found.startswith(wanted) for found, wanted in zip(draft.choices, choices, strict=True))


@pytest.mark.parametrize(
    ("outputs", "wanted"),
    [
        pytest.param((tensor("y", None, 1),), {"y": "y"}, id="one value"),
        pytest.param(
            (tensor("y", None, 3),), {"y_0": "y[:, 0]", "y_1": "y[:, 1]", "y_2": "y[:, 2]"}, id="three classes"
        ),
        pytest.param((tensor("flight_id", None),), {"flight_id_score": "flight_id"}, id="the key's name"),
        pytest.param((tensor("output-0/y:0", None, 1),), {"output_0_y_0": "output-0/y:0"}, id="a name of an exporter"),
        pytest.param((tensor("y", None, None),), {}, id="unknown width"),
        pytest.param((tensor("y", None, 2, 2),), {"y": "y"}, id="an array a row"),
        pytest.param((tensor("p", None, dtype="seq(map(int64,tensor(float)))"),), {"p": "p"}, id="a map"),
        pytest.param((tensor("p", None, dtype="seq(tensor(float))"), tensor("y[0]", None)), {}, id="of no use"),
    ],
)
def test_outputs(tmp_path: Path, outputs: tuple[TensorSpec, ...], wanted: dict[str, str]) -> None:
    given = model(tensor("distance", None), outputs=outputs)
    draft = draft_job(FACTS, given, wishes(key=("flight_id",)))
    assert validated(draft, tmp_path).model.outputs == wanted
    assert [c.partition(":")[0] for c in draft.choices] == ([] if wanted else ["model.outputs"])


@pytest.mark.parametrize(
    ("columns", "partitions", "column", "wanted"),
    [
        pytest.param({"id": "int", "a": "timestamp", "b": "date"}, (), None, "b", id="a date before a timestamp"),
        pytest.param({"id": "int", "a": "date", "b": "timestamp"}, ("b",), None, "b", id="a partition first"),
        pytest.param({"id": "int", "a": "date", "b": "timestamp_ntz"}, (), "b", "b", id="the one asked for"),
        pytest.param({"id": "int", "day": "string"}, ("day",), None, None, id="none: a snapshot"),
    ],
)
def test_interval(
    tmp_path: Path, columns: dict[str, str], partitions: tuple[str, ...], column: str | None, wanted: str | None
) -> None:
    facts = TableFacts(table="./rows", format="parquet", columns=columns, partitions=partitions)
    draft = draft_job(facts, model(tensor("id", None)), wishes(key=("id",), column=column))
    job = validated(draft, tmp_path)
    assert job.interval.column == wanted
    assert draft.grain == job.interval.grain == ("day" if wanted else "snapshot")
    assert job.output.scores == "./late_scores"


@pytest.mark.parametrize(
    "name", ["yes", "1e5", "a, b", 'say "x"', "line\nbreak", "# note", "{x}", ".5", "ключ", "a: b"]
)
def test_names_of_any_kind_are_quoted(tmp_path: Path, name: str) -> None:
    facts = TableFacts(table="./rows", format="delta", columns={name: "double", "d": "date", f"{name}2": "date"})
    job = validated(draft_job(facts, model(tensor("x", None, 1), signature=(name,)), wishes(key=(name,))), tmp_path)
    assert job.input.key == (name,)
    assert [f.name for f in job.features.columns] == [name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": ("flightid",)}, "--key flightid: expected a column of tables/flights; .* Did you mean 'flight_id'?"),
        ({"column": "zzz"}, "--column zzz: expected a column of tables/flights; .* It has flight_id, born"),
        ({"column": "carrier"}, "--column carrier: expected a date or a timestamp; found string"),
    ],
)
def test_wishes_that_the_table_cannot_meet(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draft_job(FACTS, PACKED, wishes(**changes))


@pytest.mark.parametrize(
    ("stem", "name"), [("late", "late"), ("late-flights v2", "late_flights_v2"), ("2013", "job_2013"), ("é", "job_")]
)
def test_job_name(stem: str, name: str) -> None:
    assert job_name(stem) == name
