"""Small job files for the loader's tests: five required sections, one a line, any of them replaced or more added."""

from __future__ import annotations

from pathlib import Path

from batchscore.config import Job
from batchscore.loading import load_job

REQUIRED = {
    "job": "job: flights",
    "interval": "interval: {grain: snapshot}",
    "input": "input: {table: lake/flights}",
    "model": "model: {uri: models:/delay/3}",
    "output": "output: {scores: lake/scores}",
}

FULL = """\
job: flights_delay
interval: {column: day, grain: day, time_zone: America/New_York, schedule: daily}
input:
  table: lake/flights
  format: delta
  key: [flight_id]
checks:
  input: expectations/flights_input.json
  max_quarantine_pct: 5
lookups:
  weather: {table: lake/weather, on: [origin], at: due, known_at: seen, max_age: 6h, columns: [temp, visib]}
features:
  columns:
    - {name: dep_hour, sql: "hour(due)"}
    - {name: temp, from: weather.temp, on_null: {impute: 55.0}}
    - {name: distance, on_null: fail}
model:
  uri: models:/flights_delay@champion
  inputs: {features: [dep_hour, temp, distance]}
  outputs: {probability_late: "probabilities[:, 1]"}
scoring: {device: auto, batch_rows: auto, on_bad_score: quarantine}
output:
  scores: lake/scores
  passthrough: [carrier, origin]
engine: {master: "local[*]", driver_memory: 4g, conf: {spark.sql.shuffle.partitions: "2"}}
registry: {uri: "sqlite:///mlflow.db"}
"""


def make_text(**sections: str) -> str:
    """The five required sections on lines 1 to 5, with some replaced; other sections follow from line 6."""
    return "\n".join((REQUIRED | sections).values()) + "\n"


def load_text(folder: Path, text: str | bytes, *sets: str) -> Job:
    """Write a text to `job.yaml` in a folder and load it."""
    file = folder / "job.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_job(file, sets)
