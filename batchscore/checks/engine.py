"""Great Expectations itself, for what nothing else can evaluate; the only importer of `great_expectations`.

Import this module where it is needed: GX takes seconds to load. Its context is ephemeral, its analytics are off, the
frame is neither cached nor persisted, and no failing values are asked for.
Source: great_expectations 1.24, execution_engine/sparkdf_execution_engine.py and validator/validator.py.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batchscore.checks.answers import Answer
from batchscore.errors import ConfigError
from batchscore.expectations import CORE, REFUSED, Expectation, Suite

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at import

from pyspark.logger import PySparkLogger

with warnings.catch_warnings():  # GX 1.24 imports modules that Python calls deprecated
    warnings.filterwarnings("ignore", "module 'sre_\\w+' is deprecated", DeprecationWarning)
    import great_expectations as gx
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ERROR_CLASS = re.compile(r"\[([A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)*)\]")  # Spark's error conditions
EXCEPTION_NAME = re.compile(r"\b([A-Z][A-Za-z]*(?:Error|Exception))\b")
RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}
RULE = "batchscore_rule"
OLD_CONDITION = "(The condition_parser parameter|Passing a string to the row_condition parameter) is deprecated"
SILENT = logging.CRITICAL + 1
SPARK_ERROR_LOGS = ("DataFrameQueryContextLogger", "SQLQueryContextLogger")


def run_gx(df: DataFrame, expectations: Sequence[Expectation]) -> Mapping[str, Answer]:
    """Evaluate expectations with Great Expectations' own Spark engine.

    Expectations share GX's jobs. One that raises may drag others along, so those that errored together are tried
    again one by one.

    Args:
        df: Rows of the suite's place.
        expectations: What to evaluate; types of GX's core alone.

    Returns:
        Rule id to verdict, one for each expectation. Error texts name exceptions, and hold no cell values.

    Raises:
        ConfigError: See `check_arguments`.
    """
    with _quiet():
        built = {expectation.rule: _build(expectation) for expectation in expectations}
        batch = _open_batch(df)
        verdicts = _validate(batch, built)
        errored = [rule for rule in built if verdicts[rule].error is not None]
        if len(built) > 1:
            for rule in errored:
                verdicts |= _validate(batch, {rule: built[rule]})
    return verdicts


def check_arguments(expectations: Sequence[Expectation]) -> None:
    """Refuse expectations that Great Expectations would not make.

    Raises:
        ConfigError: It refuses their arguments. Names where the first of them is written; arguments come from the
            suite and hold no cell values.
    """
    with _quiet():
        for expectation in expectations:
            _build(expectation)


def to_gx_result(suite: Suite, checks: Sequence[Mapping[str, Any]]) -> Any:
    """Verdicts in Great Expectations' own form, which its tools read.

    Args:
        suite: The suite that was asked.
        checks: Its verdicts, in its order, as records hold them.

    Returns:
        An `ExpectationSuiteValidationResult`; its `success` is GX's: whether every expectation was met.

    Source: great_expectations 1.24, core/expectation_validation_result.py.
    """
    results = [_to_gx(expectation, check) for expectation, check in zip(suite.expectations, checks, strict=True)]
    met = sum(result.success for result in results)
    return ExpectationSuiteValidationResult(
        success=met == len(results),
        results=results,
        suite_name=suite.name,
        suite_parameters={},
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": met,
            "unsuccessful_expectations": len(results) - met,
            "success_percent": 100 * met / len(results) if results else None,
        },
        meta={"batchscore": {"place": suite.place}},
    )


def _to_gx(expectation: Expectation, check: Mapping[str, Any]) -> Any:
    failed, evaluated, error = check["unexpected"], check["evaluated"], check["error"]
    result: dict[str, Any] = {}
    if failed is not None:
        result = {"element_count": evaluated, "unexpected_count": failed}
        result["unexpected_percent"] = 100 * failed / evaluated if evaluated else None
    if check["observed"] is not None:
        result["observed_value"] = check["observed"]
    return ExpectationValidationResult(
        success=check["success"],
        expectation_config=ExpectationConfiguration(
            type=expectation.type, kwargs=dict(expectation.kwargs), severity=expectation.severity
        ),
        result=result,
        exception_info={"raised_exception": error is not None, "exception_message": error, "exception_traceback": None},
        meta={"batchscore": {name: check[name] for name in ("rule", "engine", "on_row_fail", "fingerprint")}},
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence GX's complaint about old suites, and the logs that repeat Spark's errors, which hold cell values."""
    loggers = [logging.getLogger("great_expectations"), *map(PySparkLogger.getLogger, SPARK_ERROR_LOGS)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(SILENT)
    try:
        with warnings.catch_warnings():  # old suites are welcome
            warnings.filterwarnings("ignore", OLD_CONDITION, DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _build(expectation: Expectation) -> Any:
    assert expectation.type in CORE and expectation.type not in REFUSED
    kwargs = {k: v for k, v in expectation.kwargs.items() if k not in ("batch_id", "result_format", "meta")}
    meta = {RULE: expectation.rule}
    try:
        return ExpectationConfiguration(type=expectation.type, kwargs=kwargs, meta=meta).to_domain_obj()
    except Exception as error:
        raise ConfigError(
            f"{expectation.where}: expected arguments that Great Expectations takes; it says: {_complaint(error)}. "
            "Correct them."
        ) from error


def _open_batch(df: DataFrame) -> Any:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_spark(name="batchscore", persist=False)
    definition = source.add_dataframe_asset(name="rows").add_batch_definition_whole_dataframe("whole")
    return definition.get_batch(batch_parameters={"dataframe": df})


def _validate(batch: Any, built: Mapping[str, Any]) -> dict[str, Answer]:
    suite = gx.ExpectationSuite(name="batchscore", expectations=list(built.values()))
    try:
        results = batch.validate(suite, result_format=RESULT_FORMAT).results
    except Exception as error:
        return dict.fromkeys(built, Answer(success=False, error=_explain(type(error).__name__, str(error))))
    return {result.expectation_config.meta[RULE]: _read_result(result) for result in results}


def _read_result(result: Any) -> Answer:
    raised = _find_exception(result.exception_info)
    if raised is not None:
        return Answer(success=False, error=_explain("", raised))
    found = result.result or {}
    counted = "element_count" in found  # on an empty table GX leaves the other counts null
    return Answer(
        success=bool(result.success),
        evaluated=found["element_count"] - (found.get("missing_count") or 0) if counted else None,
        unexpected=(found.get("unexpected_count") or 0) if counted else None,
        observed=_unwrap(found.get("observed_value")),
    )


def _unwrap(value: Any) -> Any:
    """A numpy scalar as Python's own."""
    return value.item() if hasattr(value, "item") else value


def _find_exception(info: Any) -> str | None:
    """GX keeps one exception, or one for each metric."""
    if not isinstance(info, Mapping):
        return None
    if "raised_exception" in info:
        return f"{info.get('exception_traceback')}" if info["raised_exception"] else None
    found = [text for inner in info.values() if (text := _find_exception(inner)) is not None]
    return found[0] if found else None


def _explain(name: str, text: str) -> str:
    """The exception's name and Spark's error class; the message itself may hold cell values."""
    names = list(dict.fromkeys([*([name] if name else []), *EXCEPTION_NAME.findall(text)]))
    condition = ERROR_CLASS.search(text)
    detail = f" [{condition.group(1)}]" if condition else ""
    return f"Great Expectations could not evaluate it: {', '.join(names[-2:]) or 'an exception'}{detail}"


def _complaint(error: Exception) -> str:
    """What GX says of arguments, without the names of its own classes."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())[:300]
    said: dict[str, str] = {}  # an argument of several types has a complaint for each; one is enough
    for fault in error.errors():
        name = str(fault["loc"][0])
        said.setdefault(name, fault["msg"] if name == "__root__" else f"'{name}': {fault['msg']}")
    return "; ".join(said.values())
