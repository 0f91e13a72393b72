"""What every recipe needs of a job: what is run, when it is due, and what Spark must know before it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from batchscore.config import Grain, Job
from batchscore.errors import ConfigError
from batchscore.intervals import parse_interval
from batchscore.references import find_variables

Target = Literal["local", "standalone", "yarn", "k8s", "airflow", "databricks"]
TARGETS: tuple[Target, ...] = ("local", "standalone", "yarn", "k8s", "airflow", "databricks")
RELATIVE = ("latest", "yesterday")
ON_IMAGE = "/opt/batchscore/configs"  # where the Dockerfile puts job files
# Late enough that a grain's last rows are there; in the job's time zone.
_CRONS: Mapping[Grain, str] = {
    "hour": "15 * * * *",
    "day": "0 5 * * *",
    "week": "0 5 * * 1",
    "month": "0 5 1 * *",
    "snapshot": "0 5 * * *",
}
# Of each field, the numbers that it may have. Source: POSIX, crontab; 7 is left out, which Quartz takes otherwise.
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_PART = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?")
# Fields that are one number where a grain's unit has one start; the others are free.
_ONCE: Mapping[Grain, tuple[int, ...]] = {"hour": (0,), "day": (0, 1), "week": (0, 1, 4), "month": (0, 1, 2)}
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What a user says beside the job file.

    Attributes:
        interval: The interval of a single run; None takes the newest complete one, or the scheduler's.
        sets: Overrides, as `--set` takes them.
        master: Spark's master.
        environment: A `.pex` or `.tar.gz` with the executors' Python packages.
        script: The file that spark-submit starts.
        job_file: Where the job file lies on the machine that runs it.
        image: The container image.
        cron: When a scheduler starts it, five fields in the job's time zone.
    """

    interval: str | None = None
    sets: tuple[str, ...] = ()
    master: str | None = None
    environment: str | None = None
    script: str = "jobs/score.py"
    job_file: str | None = None
    image: str | None = None
    cron: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A job on its way to a target.

    Attributes:
        job: The job.
        target: Where to.
        wishes: What the user says beside the job file.
    """

    job: Job
    target: Target
    wishes: Wishes

    @property
    def name(self) -> str:
        """The job's name as a DNS label, which manifests take. Source: RFC 1123, section 2.1."""
        label = re.sub(r"[^a-z0-9]+", "-", self.job.config.job.lower()).strip("-")
        return label[:63].rstrip("-") or "job"

    @property
    def job_file(self) -> str:
        """Where the job file lies on the machine that runs it."""
        given = self.job.file
        if self.wishes.job_file is not None:
            return self.wishes.job_file
        if self.target == "k8s":
            return f"{ON_IMAGE}/{PurePosixPath(given).name}"
        if self.target == "databricks":
            return f"${{workspace.file_path}}/{PurePosixPath(given).name}"
        if self.target == "airflow":  # it starts tasks in folders of its own
            return given if given.startswith("/") else str(PurePosixPath(self.job.folder, PurePosixPath(given).name))
        return given

    def arguments(self, interval: str | None = None) -> list[str]:
        """What follows the script: the command, the job file, the interval and the overrides.

        Args:
            interval: Takes the place of the one that the user wished.
        """
        chosen = interval or self.wishes.interval
        if chosen is None and self.grain != "snapshot":
            chosen = "latest"
        span = ["--interval", chosen] if chosen else []
        return ["run", self.job_file, *span, *(word for text in self.wishes.sets for word in ("--set", text))]

    @property
    def grain(self) -> Grain:
        """The job's grain."""
        return self.job.config.interval.grain

    @property
    def cron(self) -> str:
        """When a scheduler starts it."""
        return self.wishes.cron or _CRONS[self.grain]

    @property
    def scheduled(self) -> bool:
        """Whether it is due again and again, and no single interval was asked for."""
        due = self.job.config.interval.schedule is not None or self.wishes.cron is not None
        return due and self.wishes.interval is None

    @property
    def variables(self) -> list[str]:
        """Environment variables that the job file refers to; their values stand nowhere in a recipe."""
        return sorted(set(find_variables(str(asdict(self.job.config)))))

    @property
    def on_gpu(self) -> bool:
        """Whether the job asks for a GPU by name."""
        return self.job.config.scoring.device in ("cuda", "tensorrt")

    def conf(self, key: str, default: str) -> str:
        """A Spark setting of the job's own, or a default."""
        return self.job.config.engine.conf.get(key, default)

    def check(self) -> None:
        """Refuse what no target takes.

        Raises:
            ConfigError: The interval is none of the job's, or the cron expression is none.
        """
        wishes, config = self.wishes, self.job.config.interval
        if wishes.interval is not None and (wishes.interval not in RELATIVE or self.grain == "snapshot"):
            parse_interval(wishes.interval, self.grain, config.time_zone)
        if wishes.cron is not None:
            fields = wishes.cron.split()
            if len(fields) != 5 or not all(_fits(*pair) for pair in zip(fields, _RANGES, strict=True)):
                raise ConfigError(
                    f"--cron {wishes.cron}: expected minute, hour, day, month and weekday (0 is Sunday), each '*' or "
                    "numbers in their range with '/', ',' and '-', as '0 5 * * *'."
                )
            self._check_schedule(fields)

    def _check_schedule(self, fields: list[str]) -> None:
        """Refuse what a scheduler would take for another time than cron does."""
        if self.target == "databricks" and fields[2] != "*" and fields[4] != "*":
            raise ConfigError(
                f"--cron {self.cron}: expected a day or a weekday, not both: cron starts on either, Quartz takes one."
            )
        places = _ONCE.get(self.grain)
        if self.target == "airflow" and places is not None:
            single = [field.isdigit() for field in fields]
            if single != [place in places for place in range(5)] or any(
                field != "*" for place, field in enumerate(fields) if place not in places
            ):
                raise ConfigError(
                    f"--cron {self.cron}: expected one start for each {self.grain}, as '{_CRONS[self.grain]}': between "
                    "two starts lies the interval that Airflow asks for."
                )

    def facts(self) -> dict[str, Any]:
        """What templates fill in."""
        config = self.job.config
        return {
            "job": config.job,
            "name": self.name,
            "cron": self.cron,
            "quartz": quartz(self.cron),
            "time_zone": config.interval.time_zone,
            "scheduled": self.scheduled,
            "arguments": self.arguments(),
            "driver_memory": config.engine.driver_memory,
            "variables": self.variables,
            "on_gpu": self.on_gpu,
        }


def _fits(field: str, numbers: tuple[int, int]) -> bool:
    """Whether a field of a cron expression is one."""
    for part in field.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            return False
        first, last, step = (None if text is None else int(text) for text in found.groups())
        if any(number is not None and not numbers[0] <= number <= numbers[1] for number in (first, last)):
            return False
        if step == 0 or (first is not None and last is not None and first > last):
            return False
    return True


def quartz(cron: str) -> str:
    """A cron expression as Quartz has it, which schedulers of Java take: seconds first, days of the week by name.

    Source: https://www.quartz-scheduler.org/documentation/quartz-2.3.0/tutorials/crontrigger.html.
    """
    minute, hour, day, month, weekday = cron.split()
    named = re.sub(r"(?<![/\d])[0-6](?!\d)", lambda found: _DAYS[int(found[0])], weekday)
    if weekday == "*":
        named = "?"
    else:
        day = "?"
    return f"0 {minute} {hour} {day} {month} {named}"
