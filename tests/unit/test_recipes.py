"""Recipes: what `submit-cmd` prints for each target, and that deploy/ holds nothing else."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import pytest
from ruamel.yaml import YAML

from batchscore.errors import ConfigError
from batchscore.intervals import parse_interval
from batchscore.jvm import _DELTA_JARS
from batchscore.loading import load_job
from batchscore.recipes.submission import Target, Wishes, quartz
from batchscore.submitting import make_recipe

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
JOB = """
job: Late_Flights_2
interval: {{column: day, grain: {grain}, time_zone: America/New_York, schedule: {schedule}, start: "{start}"}}
input: {{table: "${{env:LAKE}}/flights", key: [id]}}
model: {{uri: "models:/m@champion"}}
output: {{scores: ./scores}}
engine: {{master: "spark://boss:7077", driver_memory: 3g, conf: {{spark.executor.memory: 6g}}}}
"""


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHSCORE_JARS", "/nowhere")  # no path of this machine in what is printed
    monkeypatch.setenv("LAKE", "s3a://lake-of-ours")


@pytest.fixture
def job_file(tmp_path: Path) -> Callable[..., str]:
    def write(grain: str = "day", schedule: str = "daily", start: str = "2013-01-01") -> str:
        file = tmp_path / "job.yaml"
        file.write_text(JOB.format(grain=grain, schedule=schedule, start=start))
        return str(file)

    return write


def text_of(file: str, target: Target, *sets: str, **wishes: Any) -> str:
    return make_recipe(load_job(file, sets), target, Wishes(sets=sets, **wishes)).text


PACKAGE = "--packages io.delta:delta-spark_4.1_2.13:4.4.0"
LINES: list[tuple[Target, dict[str, Any], str]] = [
    ("local", {"master": "local[4]"}, f"spark-submit --master 'local[4]' --driver-memory 3g {PACKAGE} jobs/score.py"),
    ("standalone", {}, f"spark-submit --master spark://boss:7077 --driver-memory 3g {PACKAGE} jobs/score.py"),
    ("yarn", {}, f"spark-submit --master yarn --deploy-mode client --driver-memory 3g {PACKAGE} jobs/score.py"),
    (
        "standalone",
        {"environment": "packed/env.pex", "script": "s.py"},
        f"spark-submit --master spark://boss:7077 --driver-memory 3g {PACKAGE} --files packed/env.pex --conf "
        f"spark.pyspark.python=./env.pex --conf spark.pyspark.driver.python={sys.executable} s.py",
    ),
    (
        "yarn",
        {"environment": "env.tar.gz"},
        f"spark-submit --master yarn --deploy-mode client --driver-memory 3g {PACKAGE} --archives "
        "'env.tar.gz#environment' --conf spark.pyspark.python=./environment/bin/python --conf "
        f"spark.pyspark.driver.python={sys.executable} jobs/score.py",
    ),
]


@pytest.mark.parametrize(("target", "wishes", "line"), LINES)
def test_lines(job_file: Callable[..., str], target: Target, wishes: dict[str, Any], line: str) -> None:
    file = job_file()
    assert text_of(file, target, **wishes) == f"{line} run {file} --interval latest\n"
    found = text_of(file, target, "scoring.threads=2", interval="2013-10-01", **wishes)
    assert shlex.split(found)[-6:] == ["run", file, "--interval", "2013-10-01", "--set", "scoring.threads=2"]


REFUSED: list[tuple[Target, dict[str, Any], str]] = [
    ("standalone", {"master": "local[2]"}, r"expected the cluster's master, as --master spark://HOST:7077"),
    ("standalone", {"environment": "env.tar"}, r"--env env\.tar: expected a \.pex, or a \.tar\.gz"),
    ("local", {"environment": "env.pex"}, r"--env: expected none for --target local"),
    ("local", {"interval": "2013-10"}, r"--interval 2013-10: expected one day of the calendar"),
    ("k8s", {"cron": "0 5 * *"}, r"--cron 0 5 \* \*: expected minute, hour, day, month and weekday"),
    ("airflow", {"cron": '0 5 * * "'}, r"--cron .*: expected minute, hour"),
    ("k8s", {"cron": "99 5 * * *"}, r"--cron 99 5 .*: expected minute"),
    ("k8s", {"cron": "- / , * *"}, r"--cron .*: expected minute"),
    ("k8s", {"cron": "0 5 * * 7"}, r"weekday \(0 is Sunday\)"),
    ("k8s", {"cron": "0 5-3 * * *"}, r"expected minute, hour"),
    ("databricks", {"cron": "0 5 1 * 1"}, r"expected a day or a weekday, not both"),
    ("airflow", {"cron": "0 5 * * 1-5"}, r"expected one start for each day, as '0 5 \* \* \*'"),
    ("airflow", {"cron": "0 */6 * * *"}, r"expected one start for each day"),
]


@pytest.mark.parametrize(("target", "wishes", "message"), REFUSED)
def test_refused(job_file: Callable[..., str], target: Target, wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        text_of(job_file(), target, **wishes)


def test_what_spark_must_know_before_it_starts_stands_on_the_line(
    job_file: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = "engine.conf={spark.jars.packages: 'org.apache.hadoop:hadoop-aws:3.4.1', spark.jars: '/our jars/a.jar'}"
    words = shlex.split(text_of(job_file(), "yarn", own))
    assert words[words.index("--packages") + 1].split(",")[1] == "org.apache.hadoop:hadoop-aws:3.4.1"
    assert words[words.index("--jars") + 1] == "/our jars/a.jar"
    spaced = tmp_path / "my jars"
    spaced.mkdir()
    for name in _DELTA_JARS:
        (spaced / f"io.delta_{name}-x.jar").touch()
    monkeypatch.setenv("BATCHSCORE_JARS", str(spaced))
    words = shlex.split(text_of(job_file(), "yarn"))
    assert all(jar.startswith(f"{spaced}/") for jar in words[words.index("--jars") + 1].split(","))


def test_airflow_starts_the_script_by_its_whole_path(job_file: Callable[..., str]) -> None:
    assert f" {Path('jobs/score.py').absolute()} run " in text_of(job_file(), "airflow")


def test_settings_that_are_references_are_left_to_the_job(job_file: Callable[..., str]) -> None:
    conf = "engine.conf={spark.executor.instances: '${env:LAKE}', spark.jars.packages: '${env:LAKE}'}"
    assert YAML(typ="safe").load(text_of(job_file(), "k8s", conf))["spec"]["template"]["executor"]["instances"] == 2
    assert "LAKE" not in text_of(job_file(), "yarn", conf).split("--set")[0]


def test_no_recipe_has_a_value_of_a_secret(job_file: Callable[..., str]) -> None:
    for target in ("local", "standalone", "yarn", "k8s", "airflow", "databricks"):
        recipe = make_recipe(load_job(job_file(), ()), target, Wishes())
        assert "lake-of-ours" not in recipe.text
        assert "the job refers to LAKE: set it there." in recipe.notes


def test_a_manifest_of_the_spark_operator(job_file: Callable[..., str]) -> None:
    found = YAML(typ="safe").load(text_of(job_file(), "k8s"))
    assert (found["apiVersion"], found["kind"]) == ("sparkoperator.k8s.io/v1beta2", "ScheduledSparkApplication")
    assert found["metadata"]["name"] == "late-flights-2"
    assert (found["spec"]["schedule"], found["spec"]["timeZone"]) == ("0 5 * * *", "America/New_York")
    application = found["spec"]["template"]
    assert application["arguments"] == ["run", "/opt/batchscore/configs/job.yaml", "--interval", "latest"]
    assert application["driver"]["envSecretKeyRefs"] == {"LAKE": {"name": "late-flights-2", "key": "LAKE"}}
    assert (application["driver"]["memory"], application["executor"]["memory"]) == ("3g", "6g")
    assert "sparkConf" not in application and "tolerations" not in application["executor"]
    for part in ("driver", "executor"):
        assert application[part]["securityContext"]["runAsNonRoot"] is True

    gpu = YAML(typ="safe").load(
        text_of(job_file(), "k8s", "scoring.device=cuda", interval="2013-10-01", image="ours:1")
    )
    assert (gpu["kind"], gpu["spec"]["image"]) == ("SparkApplication", "ours:1")
    assert gpu["spec"]["sparkConf"]["spark.executor.resource.gpu.amount"] == "1"
    assert gpu["spec"]["executor"]["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]


def test_a_bundle_for_databricks(job_file: Callable[..., str]) -> None:
    found = YAML(typ="safe").load(text_of(job_file(), "databricks", cron="30 6 * * 1-5"))
    (job,) = found["resources"]["jobs"].values()
    assert job["schedule"] == {"quartz_cron_expression": "0 30 6 ? * MON-FRI", "timezone_id": "America/New_York"}
    (task,) = job["tasks"]
    words = ["${var.package}", "run", "${workspace.file_path}/job.yaml", "--interval", "latest"]
    assert task["spark_python_task"] == {"python_file": "./run_batchscore.py", "parameters": words}
    variables = job["job_clusters"][0]["new_cluster"]["spark_env_vars"]
    assert variables == {"LAKE": "{{secrets/late-flights-2/LAKE}}"}


QUARTZ = [
    ("0 5 * * *", "0 0 5 * * ?"),
    ("15 * * * *", "0 15 * * * ?"),
    ("0 5 * * 1", "0 0 5 ? * MON"),
    ("0 5 * * 0,6", "0 0 5 ? * SUN,SAT"),
    ("0 5 1 * *", "0 0 5 1 * ?"),
    ("*/10 5-6 * 1 */2", "0 */10 5-6 ? 1 */2"),
]


@pytest.mark.parametrize(("cron", "expected"), QUARTZ)
def test_cron_as_quartz_has_it(cron: str, expected: str) -> None:
    assert quartz(cron) == expected


class Moment(datetime):
    """A moment as Airflow hands it to templates."""

    def in_timezone(self, zone: str) -> Moment:
        return self.astimezone(ZoneInfo(zone))


class Told:
    """What a DAG file asks Airflow for."""

    def __init__(self) -> None:
        self.dag: dict[str, Any] = {}
        self.tasks: list[dict[str, Any]] = []

    def modules(self) -> dict[str, ModuleType]:
        told = self

        class Dag:
            def __init__(self, **asked: Any) -> None:
                told.dag = asked

            def __enter__(self) -> Dag:
                return self

            def __exit__(self, *_: object) -> None: ...

        made = {name: ModuleType(name) for name in ("airflow", "airflow.sdk", "pendulum")}
        path = "airflow.providers.standard.operators.bash"
        made |= {path.rsplit(".", k)[0]: ModuleType(path.rsplit(".", k)[0]) for k in range(4)}
        made["airflow.sdk"].DAG = Dag  # type: ignore[attr-defined]
        made["airflow.sdk"].CronDataIntervalTimetable = lambda cron, timezone: (cron, timezone)  # type: ignore[attr-defined]
        made[path].BashOperator = lambda **asked: told.tasks.append(asked)  # type: ignore[attr-defined]
        made["pendulum"].datetime = lambda *day, tz: Moment(*day, tzinfo=ZoneInfo(tz))  # type: ignore[attr-defined]
        return made


def read_dag(text: str, monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    for name, module in told.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    exec(compile(text, "dag.py", "exec"), {"__name__": "dag"})
    return told


def moment(text: str) -> Moment:
    return Moment.fromisoformat(text)


INTERVALS = [  # grain, schedule, first; an interval of Airflow's, which ends when the task starts; what is asked for
    ("day", "daily", "2013-01-01", "2013-10-01T09:00+00:00", "2013-10-02T09:00+00:00", "2013-10-01"),
    ("day", "daily", "2013-01-01", "2013-11-02T09:00+00:00", "2013-11-03T10:00+00:00", "2013-11-02"),  # clocks go back
    ("hour", "hourly", "2013-01-01T00", "2013-11-03T05:15+00:00", "2013-11-03T06:15+00:00", "2013-11-03T01-04:00"),
    ("week", "weekly", "2013-W01", "2013-09-30T09:00+00:00", "2013-10-07T09:00+00:00", "2013-W40"),
    ("month", "monthly", "2013-01", "2013-12-01T10:00+00:00", "2014-01-01T10:00+00:00", "2013-12"),
]


@pytest.mark.parametrize(("grain", "schedule", "first", "start", "end", "label"), INTERVALS)
def test_a_dag_asks_for_the_interval_that_has_ended(
    job_file: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    grain: Any,
    schedule: str,
    first: str,
    start: str,
    end: str,
    label: str,
) -> None:
    told = read_dag(text_of(job_file(grain, schedule, first), "airflow"), monkeypatch)
    assert (told.dag["catchup"], told.dag["max_active_runs"]) == (False, 1)
    assert told.dag["schedule"][1] == "America/New_York" and told.dag["start_date"].year in (2012, 2013)
    (task,) = told.tasks

    def asked(first: str, last: str) -> str:
        template = jinja2.Template(task["bash_command"])
        words = shlex.split(template.render(data_interval_start=moment(first), data_interval_end=moment(last)))
        return words[words.index("--interval") + 1]

    assert parse_interval(asked(start, end), grain, "America/New_York").label == label
    with pytest.raises(ConfigError, match=r"zero length.*schedulers with trigger timetables pass start = end"):
        parse_interval(asked(end, end), grain, "America/New_York")


MADE: list[tuple[str, Target, tuple[str, ...], dict[str, Any]]] = [
    (
        "airflow/flights_delay.py",
        "airflow",
        (),
        {"job_file": "/opt/batchscore/configs/flights.yaml", "script": "/opt/batchscore/jobs/score.py"},
    ),
    ("kubernetes/flights_delay.yaml", "k8s", (), {}),
    (
        "kubernetes/flights_delay_gpu.yaml",
        "k8s",
        ("scoring.device=cuda",),
        {"interval": "2013-10-01", "image": "batchscore:0.1.0-gpu"},
    ),
    ("databricks/databricks.yml", "databricks", (), {}),
]


@pytest.mark.parametrize(("file", "target", "sets", "wishes"), MADE)
def test_deploy_holds_what_is_printed(file: str, target: Target, sets: tuple[str, ...], wishes: dict[str, Any]) -> None:
    expected = text_of(str(REPOSITORY / "configs" / "flights.yaml"), target, *sets, **wishes)
    assert (DEPLOY / file).read_text(encoding="utf-8") == expected


def test_the_image_does_not_run_as_root_and_is_built_in_stages() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("FROM")] == ["spark", "build", "${BASE}"]
    assert [line for line in lines if line.startswith("USER")] == ["USER 185"]
    copied = [words[1] for line in lines if (words := line.split()) and words[0] == "COPY" and "--from" not in line]
    assert all((REPOSITORY / name).exists() for name in copied)
    spark = re.search(r"ARG SPARK=spark:(\d+\.\d+)", "\n".join(lines))
    pinned = re.search(r"^pyspark==(\d+\.\d+)", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert spark and pinned and spark[1] == pinned[1]


CRONTAB = DEPLOY / "cron" / "flights_delay.crontab"


def test_the_crontab_calls_what_there_is() -> None:
    from batchscore.cli import cli  # noqa: PLC0415

    calls = [line for line in CRONTAB.read_text().splitlines() if line and line[0].isdigit()]
    assert len(calls) == 3
    for line in calls:
        words = shlex.split(line.split(".venv/bin/batchscore ")[1].split(">>")[0])
        command = cli.get_command(None, words[0])  # type: ignore[arg-type]
        assert command is not None
        with command.make_context(words[0], words[1:]):
            pass


SLICES = "GPU 0: A100 (UUID: GPU-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-a)\n  MIG 1g.5gb Device 1: (UUID: MIG-b)\n"
LISTINGS = [
    ("GPU 0: NVIDIA L4 (UUID: GPU-1)\nGPU 1: NVIDIA L4 (UUID: GPU-2)\n", ["0", "1"]),
    (SLICES, ["0", "1"]),
    ("", []),
]


@pytest.mark.parametrize(("listing", "addresses"), LISTINGS)
def test_the_script_that_finds_gpus(tmp_path: Path, listing: str, addresses: list[str]) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}END\n")
    fake.chmod(0o755)
    script = DEPLOY / "kubernetes" / "getGpusResources.sh"
    done = subprocess.run(
        [str(script)], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"name": "gpu", "addresses": addresses}


def test_the_script_on_databricks_keeps_its_spark_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {"__name__": "run_batchscore"}
    exec((DEPLOY / "databricks" / "run_batchscore.py").read_text(), found)
    kept = found["own_environment"](
        {"SPARK_HOME": "/dbr", "PYTHONPATH": "/dbr", "PYSPARK_PYTHON": "p", "LAKE": "s3://l"}
    )
    assert kept == {"LAKE": "s3://l"}
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" > "$0.called"; exit 10\n')
    python.chmod(0o755)
    monkeypatch.setitem(found, "FOLDER", tmp_path)
    assert found["main"](["batchscore[cpu]", "run", "job.yaml"]) == 10  # batchscore's own exit code
    assert python.with_name("python.called").read_text().split() == ["-m", "batchscore", "run", "job.yaml"]
