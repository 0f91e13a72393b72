"""Scores as a column: a registered model as a function of columns, for notebooks, with the kernel of every job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from batchscore.config import ModelConfig
from batchscore.errors import ConfigError, InputError, ModelError
from batchscore.kernel.batch import SCORED, run_kernel, stage_schema
from batchscore.kernel.scores import column_type
from batchscore.kernel.spec import FeatureSpec, KernelSpec, ModelSpec, OutputSpec, ScoresSpec, SessionSpec
from batchscore.records import PinnedModel
from batchscore.scoring.finders import drop_spark_finders
from batchscore.scoring.preflight import match_model
from batchscore.scoring.selections import match_outputs
from batchscore.tables.read import quote

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

_ROW = "_row"


@dataclass(frozen=True, slots=True)
class ScoreUdf:
    """A function of columns, or of one struct of them, that gives a pinned model's scores.

    Attributes:
        model: The pinned model.
        features: The columns that it takes, in order.
        udf: Spark's function of one struct.
    """

    model: PinnedModel
    features: tuple[str, ...]
    udf: Any

    def __call__(self, *columns: str | Column) -> Column:
        """The scores of a row: the output's value, or a struct where there are several outputs.

        Null where the row cannot be scored: a feature is null or does not fit, or ONNX Runtime refuses the row.

        Args:
            columns: The features in the order of `features`; or one struct whose fields have their names; or nothing,
                for columns of the features' own names.

        Raises:
            ConfigError: There are more or fewer columns than features.
        """
        from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `import batchscore` free of Spark

        names = columns or tuple(quote(name) for name in self.features)
        given = [F.col(column) if isinstance(column, str) else column for column in names]
        if len(given) == len(self.features):
            struct = F.struct(*[one.alias(name) for one, name in zip(given, self.features, strict=True)])
        elif len(given) == 1:
            struct = given[0]
        else:
            raise ConfigError(
                f"score_udf: expected {len(self.features)} columns ({', '.join(self.features)}) or one struct of them; "
                f"found {len(given)} columns."
            )
        scores: Column = self.udf(struct)
        return scores


def score_udf(
    spark: SparkSession,
    uri: str,
    *,
    registry: str | None = None,
    inputs: Mapping[str, Sequence[str]] | None = None,
    outputs: Mapping[str, str] | None = None,
    device: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto",
) -> ScoreUdf:
    """A registered model as a function of columns: the same pin, checks and kernel as a job's, without its tables.

    The model is pinned now: an alias that moves later moves nothing. NaN and infinite scores are kept.

    Args:
        spark: The session.
        uri: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        registry: MLflow's URI of the registry; None takes MLflow's own setting.
        inputs: As `model.inputs` in a job.
        outputs: As `model.outputs` in a job.
        device: As `scoring.device` in a job.

    Raises:
        ConfigError: The URI is none.
        ModelError: The model is missing, unsafe or will not load, or has no such output.
        RegistryError: The registry cannot be reached.
    """
    from pyspark.sql.pandas.functions import arrow_udf  # noqa: PLC0415 - keeps `import batchscore` free of Spark
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415
    from pyspark.sql.types import StructType  # noqa: PLC0415

    from batchscore.models.pin import pin_model  # noqa: PLC0415 - mlflow takes seconds to import

    pinned, content = pin_model(uri, registry)
    given = {name: tuple(columns) for name, columns in (inputs or {}).items()}
    config = ModelConfig(uri=uri, inputs=given, outputs=dict(outputs or {}))
    tensors = [tensor.name for tensor in pinned.inputs]
    if given and set(given) != set(tensors):
        raise ModelError(f"inputs: expected the model's inputs ({', '.join(tensors)}); found {', '.join(given)}.")
    named = [name for columns in given.values() for name in columns]
    names = tuple(dict.fromkeys(named or pinned.signature_inputs or [tensor.name for tensor in pinned.inputs]))
    found = match_outputs(pinned, config, [_ROW])
    fields = from_arrow_schema(pa.schema([pa.field(o.column, column_type(o)) for o in found])).fields
    made = fields[0].dataType if len(fields) == 1 else StructType(fields)
    make_udf: Any = arrow_udf  # whose stubs know no types but atomic ones and arrays
    broadcast = spark.sparkContext.broadcast(content)
    session = SessionSpec(device=device, threads=())

    def score(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        from batchscore.scoring.resources import in_task  # noqa: PLC0415 - there is a task on workers alone

        drop_spark_finders()
        spec: KernelSpec | None = None
        for batch in batches:
            spec = spec or _make_spec(pinned, config, names, batch.type, in_task(session))
            yield _score_batch(batch, names, spec, found, broadcast)

    return ScoreUdf(pinned, names, make_udf(score, made))


def _make_spec(
    pinned: PinnedModel, config: ModelConfig, names: Sequence[str], kind: pa.DataType, session: SessionSpec
) -> KernelSpec:
    if not pa.types.is_struct(kind) or any(kind.get_field_index(name) < 0 for name in names):
        found = ", ".join(f.name for f in kind) if pa.types.is_struct(kind) else str(kind)
        raise InputError(f"score_udf: expected a struct with the fields {', '.join(names)}; found {found}.")
    types = {name: kind.field(name).type for name in names}
    features = tuple(FeatureSpec(name=name, on_null="quarantine") for name in names)
    model: ModelSpec = match_model(pinned, config, features, types, [_ROW])
    fields = [pa.field(_ROW, pa.int64()), *(pa.field(o.column, column_type(o)) for o in model.outputs)]
    return KernelSpec(
        keys=(_ROW,),
        passthrough=(),
        rules=(),
        tallies=(),
        features=features,
        scores=ScoresSpec(models=(model,)),
        on_bad_score="keep",
        batch_rows=0,
        max_failed_rows=2**62,
        session=session,
        raw=False,
        duplicates=False,
        failed=False,
        doubled=False,
        schema=stage_schema(fields, None).serialize().to_pybytes(),
    )


def _score_batch(
    batch: pa.Array, names: Sequence[str], spec: KernelSpec, outputs: Sequence[OutputSpec], broadcast: Any
) -> pa.Array:
    """[n] scores, or structs of them; null where a row has none."""
    from batchscore.scoring.resources import task_address  # noqa: PLC0415 - there is a task on workers alone

    columns = {name: batch.field(batch.type.get_field_index(name)) for name in names}
    rows = pa.RecordBatch.from_pydict({_ROW: pa.array(range(len(batch)), pa.int64()), **columns})
    done = pa.Table.from_batches(
        run_kernel(iter([rows]), spec, lambda _: broadcast.value, "notebook", task_address())
    ).combine_chunks()
    scored = done.filter(pc.equal(done["_outcome"], SCORED))
    place = pc.index_in(pa.array(range(len(batch)), pa.int64()), scored[_ROW].combine_chunks())
    made = [scored[output.column].combine_chunks().take(place) for output in outputs]
    if len(made) == 1:
        return made[0]
    fields = [pa.field(output.column, column.type) for output, column in zip(outputs, made, strict=True)]
    return pa.StructArray.from_arrays(made, fields=fields, mask=place.is_null())
