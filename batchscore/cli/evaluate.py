"""`batchscore evaluate`: measure published scores against labels."""

from __future__ import annotations

from typing import Any

import click

from batchscore.cli.options import config_argument, emit, json_option, plain, range_options
from batchscore.cli.progress import show_progress


@click.command("evaluate")
@config_argument
@click.option("--labels", required=True, metavar="TABLE", help="Path or catalog name of the table with the labels.")
@click.option("--format", "kind_of_table", type=click.Choice(["delta", "parquet"]), default="delta", show_default=True)
@click.option("--label", default="label", show_default=True, metavar="SQL", help="Over its columns, as 'delay >= 15'.")
@click.option("--score", metavar="COLUMN", help="The output column, where there are several.")
@click.option("--kind", type=click.Choice(["auto", "binary", "regression"]), default="auto", show_default=True)
@click.option("--by", metavar="COLUMN", help="Figures of each value of this column of the scores, too.")
@click.option("--threshold", "thresholds", multiple=True, type=float, help="For precision and recall; 0.1 to 0.9.")
@range_options
@json_option
def command(
    config: str,
    sets: tuple[str, ...],
    labels: str,
    kind_of_table: Any,
    label: str,
    score: str | None,
    kind: Any,
    by: str | None,
    thresholds: tuple[float, ...],
    start: str | None,
    end: str | None,
    as_json: bool,
) -> None:
    """Join published scores with labels by the job's key, measure them by model, and keep the figures in the audit."""
    from batchscore import api, watching  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        api.spark_session(job)
        progress("evaluate")
        found = watching.evaluate(
            job,
            labels,
            start,
            end,
            table_format=kind_of_table,
            label=label,
            score=score,
            kind=kind,
            by=by,
            thresholds=thresholds or None,
        )
    emit(found, plain(found), as_json)
