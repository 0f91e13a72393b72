"""Rules of the signals section: places that can be told, and no secret in the file."""

from __future__ import annotations

from collections.abc import Iterator

from batchscore.config import JobConfig
from batchscore.loading.faults import Finding, Path
from batchscore.patterns import URI_PASSWORD
from batchscore.references import has_reference


def find_signal_faults(job: JobConfig) -> Iterator[Finding]:
    """Yield every broken rule of the signals."""
    signals = job.signals
    if not signals.timeout_s > 0:
        yield Finding(("signals", "timeout_s"), "out-of-range", "expected more than 0 seconds")
    if signals.mlflow is not None and job.registry.uri is None:
        needs = "`signals.mlflow` logs to the job's registry; name it under `registry.uri`"
        yield Finding(("signals", "mlflow"), "half-given", needs, reads=(("registry",),))
    lineage, prometheus = signals.openlineage, signals.prometheus
    if lineage is not None:
        where: Path = ("signals", "openlineage")
        if (lineage.url is None) == (lineage.file is None):
            yield Finding(where, "half-given", "expected either `url` or `file`")
        if lineage.token is not None and not has_reference(lineage.token):
            what = "a secret may not stand in the job file; write '${env:NAME}'"
            yield Finding((*where, "token"), "secret-in-file", what)
    if prometheus is not None:
        where = ("signals", "prometheus")
        if (prometheus.file is None) == (prometheus.push_gateway is None):
            yield Finding(where, "half-given", "expected either `file` or `push_gateway`")
        if prometheus.file is not None and not prometheus.file.endswith(".prom"):
            expected = "expected a name that ends in '.prom', as the textfile collector reads them"
            yield Finding((*where, "file"), "bad-path", expected)
    yield from _check_addresses(job)


def _check_addresses(job: JobConfig) -> Iterator[Finding]:
    signals = job.signals
    texts: list[tuple[Path, str | None]] = [
        (("signals", "webhooks", place, "url"), hook.url) for place, hook in enumerate(signals.webhooks)
    ]
    if signals.openlineage is not None:
        texts.append((("signals", "openlineage", "url"), signals.openlineage.url))
    for path, text in texts:
        if text is not None and not (has_reference(text) or text.startswith(("http://", "https://"))):
            yield Finding(path, "bad-address", "expected an address that begins with 'https://' or 'http://'")
    gateway = signals.prometheus.push_gateway if signals.prometheus is not None else None
    for path, text in [*texts, (("signals", "prometheus", "push_gateway"), gateway)]:
        if text is not None and URI_PASSWORD.search(text):
            what = "a password may not stand in the job file; write '${env:NAME}' in its place"
            yield Finding(path, "secret-in-file", what)
