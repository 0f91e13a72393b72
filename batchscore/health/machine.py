"""The machine: Python, Java, the Delta jars, the packages and ONNX Runtime of this process; no Spark is started."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Callable, Iterator

from packaging.requirements import Requirement

from batchscore.errors import SetupError
from batchscore.health.checks import Check, attempt
from batchscore.jvm import check_java, comet_folder, fetch_jars, find_comet, find_jars, jars_folder

ONNXRUNTIME_BUILDS = ("onnxruntime", "onnxruntime-gpu")
_SHOWN = ("pyspark", "delta-spark", "pyarrow", "pandas", "mlflow", "great-expectations")

Version = Callable[[str], str | None]


def check_machine(*, fetch: bool = False) -> list[Check]:
    """Look at this machine and this process.

    Args:
        fetch: Fetch the Delta jars where they are not yet here.
    """
    return [
        Check("python", "OK", f"{platform.python_version()} at {sys.executable}"),
        attempt("java", lambda: f"version {check_java()}"),
        check_jars(fetch=fetch),
        check_comet(),
        *check_packages(importlib.metadata.requires("batchscore") or [], installed_version),
        *check_onnxruntime(installed_version),
    ]


def check_jars(*, fetch: bool) -> Check:
    """Look for the Delta jars, and fetch them where asked to."""
    try:
        jars = fetch_jars() if fetch else find_jars()
    except SetupError as error:
        return Check("delta jars", "FAIL", str(error))
    if not jars:
        advice = "The first run fetches them; `batchscore doctor --fetch` does it now"
        return Check("delta jars", "WARN", f"expected them in {jars_folder()}; found none. {advice}.")
    return Check("delta jars", "OK", f"{len(jars)} in {jars_folder()}")


def check_comet() -> Check:
    """Look for Comet's jar, which few jobs need."""
    found = find_comet()
    told = found[0].name if found else "none; `engine.accelerator: comet` alone needs it, and fetches it"
    return Check("comet jar", "OK", f"{told}, in {comet_folder()}" if found else told)


def check_packages(requirements: list[str], version_of: Version) -> Iterator[Check]:
    """Compare the core's requirements with what is installed: a line for each that is wrong, and one for the rest.

    Args:
        requirements: As the package's own metadata states them; those of extras are left out.
        version_of: Version of an installed distribution, or None.
    """
    parsed = [Requirement(text) for text in requirements]
    needed = [r for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})]
    right: dict[str, str] = {}
    for requirement in needed:
        version = version_of(requirement.name)
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            right[requirement.name] = version
            continue
        wanted = f"{requirement.name}{requirement.specifier}"
        found = f"found {version}" if version else "it is not installed"
        yield Check("package", "FAIL", f"expected {wanted}; {found}. Run: pip install '{wanted}'")
    shown = ", ".join(f"{name} {right[name]}" for name in _SHOWN if name in right)
    yield Check("packages", "OK", f"{len(right)} of {len(needed)} as required: {shown}")


def check_onnxruntime(version_of: Version) -> Iterator[Check]:
    """Look at ONNX Runtime: which build, and what it can compute on."""
    builds = [name for name in ONNXRUNTIME_BUILDS if version_of(name) is not None]
    if not builds:
        advice = "Run: pip install 'batchscore[cpu]', or 'batchscore[gpu]' on a machine with a GPU"
        yield Check("onnxruntime", "FAIL", f"expected it; it is not installed. {advice}")
        return
    if len(builds) > 1:
        advice = "They overwrite each other's files: uninstall both, then install one"
        yield Check("onnxruntime", "WARN", f"expected one build; found {' and '.join(builds)}. {advice}.")
    yield attempt("onnxruntime", _describe_onnxruntime)


def installed_version(name: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _describe_onnxruntime() -> str:
    from batchscore.kernel.runtime import available_providers, runtime_version  # noqa: PLC0415 - may be missing

    return f"{runtime_version()} with {', '.join(available_providers())}"
