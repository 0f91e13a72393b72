"""`batchscore schema`: print the JSON Schema of job files."""

from __future__ import annotations

import json

import click


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of job files, for editors: save it beside them as job.schema.json."""
    from batchscore.loading import job_schema  # noqa: PLC0415 - imports pydantic

    click.echo(json.dumps(job_schema(), indent=2, ensure_ascii=False))
