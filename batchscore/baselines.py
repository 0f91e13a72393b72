"""Baselines: how the rows that a model is logged with are distributed, for runs to be compared with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batchscore.config import Job
from batchscore.errors import ConfigError
from batchscore.kernel.distributions import Distribution, is_watched

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from batchscore.training_sets import TrainingSet

KEPT_BUCKETS = 64  # MLflow keeps them in a model's metadata, which is small
SAMPLE_ROWS = 200_000


def count_baseline(job: Job, rows: TrainingSet | DataFrame | pd.DataFrame | pa.Table) -> str:
    """The distributions of features and scores in some rows, as JSON for a model's metadata.

    Args:
        job: The job, whose features and output columns are looked for among the columns.
        rows: Features as the model takes them, such as a training set; the scores of them, if there are any, under the
            names of the job's output columns. Of a Spark frame about 200,000 rows are taken at random.

    Raises:
        ConfigError: The rows have none of the job's features, or there are none.
    """
    table = _to_table(rows)
    config = job.config
    outputs = (*config.model.outputs, *(step.name for step in config.model.postprocess))
    places = {"features": [feature.name for feature in config.features.columns], "scores": list(outputs)}
    found: dict[str, dict[str, Any]] = {}
    for place, names in places.items():
        for name in names:
            if name in table.column_names and is_watched(table.column(name).type):
                one = Distribution()
                for chunk in table.column(name).chunks:
                    one.add(chunk)
                kept = one.named().condensed(KEPT_BUCKETS)
                found.setdefault(place, {})[name] = kept.to_plain()
    if "features" not in found or not table.num_rows:
        raise ConfigError(
            f"log_model: reference: expected rows with the job's features ({', '.join(places['features'][:5])}, …); "
            f"found {table.num_rows} rows with {', '.join(table.column_names[:5]) or 'no columns'}."
        )
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def _to_table(rows: Any) -> pa.Table:
    if isinstance(rows, pa.Table):
        return rows
    frame = getattr(rows, "frame", rows)  # a training set's
    if hasattr(frame, "toArrow"):
        count = frame.count()
        table: pa.Table = (frame if count <= SAMPLE_ROWS else frame.sample(SAMPLE_ROWS / count, seed=0)).toArrow()
        return table
    return pa.Table.from_pandas(frame, preserve_index=False)
