"""The error tree; each class carries the process exit code that the CLI returns for it.

* BatchscoreError        1   a bug, or something nobody foresaw
  + ConfigError          2   the job file or the command line is wrong; nothing ran
    - SetupError         2   this machine lacks what a run needs: Java, jars, a classic Spark session
  + InputError           3   a table, column, type or interval is not what the job says
  + ChecksFailed         4   a critical expectation failed, or too many rows were set aside
  + ModelError           5   the model is missing, changed, unsafe or will not load
  + ScoringError         6   the model ran and its output is unusable, or a feature is null under `on_null: fail`
  + WriteError           7   the scored table was not committed
  + RegistryError        8   the model registry cannot be reached
  + VerificationError    9   stored records do not verify
  + RunHeld             10   a gate held the run; the old scores stay visible
  + RunSuperseded       11   a newer run of this interval is published
  + IntervalBlocked     12   the interval is blocked
  + StatusGaps          13   `status` found gaps

Every message says where, what was expected, what was found, and what to do. Messages name columns, types and
counts, never cell values. Each class takes one string, so that it survives pickling between executor and driver.
"""

from __future__ import annotations


class BatchscoreError(Exception):
    """Anything batchscore raises on purpose."""

    exit_code = 1


class ConfigError(BatchscoreError):
    """The job file or the command line is wrong; nothing ran."""

    exit_code = 2


class SetupError(ConfigError):
    """This machine lacks something a run needs, such as Java or the Delta jars."""


class InputError(BatchscoreError):
    """A table, column, type or interval is not what the job says."""

    exit_code = 3


class ChecksFailed(BatchscoreError):  # noqa: N818 - news about the data, not a fault of the program
    """A critical expectation failed, or too many rows were set aside."""

    exit_code = 4


class ModelError(BatchscoreError):
    """The model is missing, changed, unsafe, or will not load."""

    exit_code = 5


class LineupChanged(ModelError):  # noqa: N818 - a state, as RunHeld is
    """A job names other models than the run had whose models are to be taken."""


class ScoringError(BatchscoreError):
    """The model ran and its output is unusable, or a feature is null under `on_null: fail`."""

    exit_code = 6


class WriteError(BatchscoreError):
    """The scored table was not committed."""

    exit_code = 7


class RegistryError(BatchscoreError):
    """The model registry cannot be reached."""

    exit_code = 8


class VerificationError(BatchscoreError):
    """Stored records do not verify."""

    exit_code = 9


class RunHeld(BatchscoreError):  # noqa: N818 - a state, not a fault
    """A gate held the run; the old scores stay visible."""

    exit_code = 10


class RunSuperseded(BatchscoreError):  # noqa: N818 - a state, not a fault
    """A newer run of this interval is published."""

    exit_code = 11


class IntervalBlocked(BatchscoreError):  # noqa: N818 - a state, not a fault
    """The interval is blocked."""

    exit_code = 12


class StatusGaps(BatchscoreError):  # noqa: N818 - a state, not a fault
    """`status` found intervals that are missing, failed or held."""

    exit_code = 13


EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "done, or nothing to do"),
    (1, "a bug, or something nobody foresaw"),
    (2, "the job file, the command line or the set-up is wrong"),
    (3, "a table, column, type or interval is not what the job says"),
    (4, "a critical expectation failed, or too many rows were set aside"),
    (5, "the model is missing, changed, unsafe or will not load"),
    (6, "scoring failed"),
    (7, "the scored table was not committed"),
    (8, "the model registry cannot be reached"),
    (9, "stored records do not verify, or a replay differs"),
    (10, "held by a gate"),
    (11, "superseded by a newer run"),
    (12, "the interval is blocked"),
    (13, "status found gaps"),
    (130, "cancelled by Ctrl-C"),
    (143, "cancelled by SIGTERM"),
)
