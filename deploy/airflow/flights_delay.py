"""flights_delay by batchscore, for Airflow 3. Made by `batchscore submit-cmd … --target airflow`."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, CronDataIntervalTimetable

with DAG(
    dag_id="flights_delay",
    # Not the bare string: since Airflow 3 its runs have an empty data interval, start = end, which batchscore refuses.
    schedule=CronDataIntervalTimetable("0 5 * * *", timezone="America/New_York"),
    start_date=pendulum.datetime(2013, 1, 1, tz="America/New_York"),
    catchup=False,  # `batchscore backfill` fills gaps: it knows what is published
    max_active_runs=1,
    tags=["batchscore"],
):
    BashOperator(
        task_id="score",
        bash_command="spark-submit --master 'local[*]' --driver-memory 2g --packages io.delta:delta-spark_4.1_2.13:4.4.0 /opt/batchscore/jobs/score.py run /opt/batchscore/configs/flights.yaml --interval \"{{ data_interval_start.in_timezone('America/New_York').strftime('%Y-%m-%d') }}/{{ data_interval_end.in_timezone('America/New_York').strftime('%Y-%m-%d') }}\"",
        retries=2,  # safe: a run whose inputs are published writes nothing
        retry_delay=timedelta(minutes=10),
    )
