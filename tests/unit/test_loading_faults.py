"""Bad job files: every fault is reported at its place, with its code and in plain words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jobs_in_yaml import FULL, load_text, make_text

from batchscore.errors import ConfigError

Expected = list[tuple[str, int, str]]  # code, line, part of the message

LOOKUP = "table: a/w, on: [k], columns: [temp, visib]"

CASES: dict[str, tuple[str, Expected]] = {
    # the document as a whole
    "empty": ("", [("empty", 0, "expected a job; the file holds no value")]),
    "only comments": ("# nothing\n", [("empty", 0, "expected a job")]),
    "null": ("~\n", [("wrong-type", 1, "expected a mapping of sections")]),
    "text": ("flights\n", [("wrong-type", 1, "expected a mapping of sections")]),
    "list": ("- job: flights\n", [("wrong-type", 1, "expected a mapping of sections")]),
    "all missing": (
        "{}\n",
        [("missing-key", 1, f"`{key}`: missing") for key in ("job", "interval", "input", "model", "output")],
    ),
    # unknown, missing and doubled keys
    "unknown section": (
        make_text(gates="gatse: {}"),
        [("unknown-key", 6, "`gatse`: no such key; expected job, interval, input")],
    ),
    "gates out of range": (
        make_text(gates="gates: {sample_rows: -1, quarantine: {max_pct: 101}, volume: {last: 0}}"),
        [
            ("out-of-range", 6, "`gates.sample_rows`: expected 0 or more rows"),
            ("out-of-range", 6, "`gates.quarantine.max_pct`: expected a percentage from 0 to 100"),
            ("out-of-range", 6, "`gates.volume.last`: expected 1 or more intervals"),
        ],
    ),
    "score gates": (
        make_text(
            model="model: {uri: models:/m@a, outputs: {p: y}}",
            gates="gates:\n  scores:\n    q: {between: [0, 1]}\n    p: {on_fail: warn}",
        ),
        [
            ("unknown-name", 8, "'q' is no output column"),
            ("missing-key", 9, "expected `between`, `mean_between` or `max_missing_pct`"),
        ],
    ),
    "score limits the wrong way round": (
        make_text(gates="gates: {scores: {p: {between: [1, 0], max_missing_pct: 200}}}"),
        [
            ("out-of-range", 6, "`gates.scores.p.between`: expected two numbers, the smaller first"),
            ("out-of-range", 6, "`gates.scores.p.max_missing_pct`: expected a percentage from 0 to 100"),
        ],
    ),
    "drift of nothing": (
        make_text(gates="gates: {sample_rows: 0, drift: {reference: yesterday, last: 0, threshold: 0, deviations: 0}}"),
        [
            ("half-given", 6, "drift is measured on `gates.sample_rows`, which is 0"),
            ("bad-value", 6, "expected 'runs', 'model', or a run's id"),
            ("out-of-range", 6, "`gates.drift.last`: expected 1 or more intervals"),
            ("out-of-range", 6, "`gates.drift.threshold`: expected more than 0"),
            ("out-of-range", 6, "`gates.drift.deviations`: expected more than 0"),
        ],
    ),
    "too few intervals to resample": (
        make_text(gates="gates: {drift: {last: 6}}"),
        [("out-of-range", 6, "`gates.drift.last`: expected 7 or more, to see how much intervals differ; or set")],
    ),
    "drift of a column that is none": (
        make_text(
            features="features: {columns: [{name: temp}]}",
            model="model: {uri: models:/m@a, outputs: {p: y}}",
            gates="gates: {drift: {columns: [tmep]}}",
        ),
        [("unknown-name", 7, "did you mean 'temp'?")],
    ),
    "a gate on no challenger": (
        make_text(gates="gates: {challenger: {min_rank_correlation: 2}}"),
        [
            ("not-used", 6, "only a job with `model.challenger` has one"),
            ("out-of-range", 6, "`gates.challenger.min_rank_correlation`: expected -1 to 1"),
        ],
    ),
    "a gate on no expectations": (
        make_text(gates="gates: {output: {on_fail: hold}}"),
        [("not-used", 6, "`gates.output` is about the expectations in `checks.output`")],
    ),
    "signals that cannot be": (
        make_text(
            signals=(
                "signals:\n  timeout_s: 0\n  mlflow: {experiment: x}\n  openlineage: {token: abc}\n"
                "  prometheus: {file: a.txt, push_gateway: b}\n  webhooks:\n    - {url: 'ftp://x'}\n"
                "    - {url: 'https://ops:hunter22@x'}"
            )
        ),
        [
            ("out-of-range", 7, "`signals.timeout_s`: expected more than 0 seconds"),
            ("half-given", 8, "`signals.mlflow` logs to the job's registry; name it under `registry.uri`"),
            ("half-given", 9, "expected either `url` or `file`"),
            ("secret-in-file", 9, "a secret may not stand in the job file; write '${env:NAME}'"),
            ("half-given", 10, "expected either `file` or `push_gateway`"),
            ("bad-path", 10, "expected a name that ends in '.prom'"),
            ("bad-address", 12, "expected an address that begins with 'https://' or 'http://'"),
            ("secret-in-file", 13, "a password may not stand in the job file"),
        ],
    ),
    "unknown section, near": (make_text(x="scorign: {}"), [("unknown-key", 6, "did you mean 'scoring'?")]),
    "unknown key": (
        make_text(input="input: {table: a/t, fromat: delta}"),
        [("unknown-key", 3, "`input.fromat`: no such key; expected table, format, key")],
    ),
    "unknown key in other case": (
        make_text(interval="interval: {Grain: snapshot, column: day}"),
        [("unknown-key", 2, "did you mean 'grain'?")],
    ),
    "unknown key, nothing like it": (
        make_text(scoring="scoring: {qqq: 1}"),
        [("unknown-key", 6, "`scoring.qqq`: no such key; expected device, batch_rows, on_bad_score,")],
    ),
    "unknown key in a list": (
        make_text(features="features:\n  columns:\n    - {name: a}\n    - {name: b, sqll: x}"),
        [("unknown-key", 9, "did you mean 'sql'?")],
    ),
    "Python's name of a key": (
        make_text(lookups=f"lookups: {{w: {{{LOOKUP}}}}}", features="features: {columns: [{name: a, from_: w.temp}]}"),
        [("unknown-key", 7, "did you mean 'from'?")],
    ),
    "missing key": (make_text(input="input: {}"), [("missing-key", 3, "`input.table`: missing; expected text")]),
    "misspelt required key": (
        make_text(output="output: {score: a/b}"),
        [("missing-key", 5, "`output.scores`: missing"), ("unknown-key", 5, "did you mean 'scores'?")],
    ),
    "missing in a lookup": (
        make_text(lookups="lookups:\n  w: {on: [k], columns: [c]}"),
        [("missing-key", 7, "`lookups.w.table`: missing")],
    ),
    "doubled section": (
        make_text(again="job: other"),
        [("doubled-key", 6, "'job' is given twice, first at line 1, column 1. Keep one")],
    ),
    "doubled, all reported": (
        make_text(engine="engine:\n  conf: {a.b: x, a.b: y, a.b: z}\n  master: local\n  master: yarn"),
        [
            ("doubled-key", 7, "'a.b' is given twice, first at line 7, column 10"),
            ("doubled-key", 7, "'a.b' is given twice"),
            ("doubled-key", 9, "'master' is given twice, first at line 8"),
        ],
    ),
    "doubled by another spelling": (
        make_text(model="model: {uri: models:/m/1, outputs: {1: a, '1': b}}"),
        [("doubled-key", 4, "'1' is given twice")],
    ),
    "doubled and wrong below": (
        make_text(input="input: {table: 5, table: a/b}"),
        [
            ("wrong-type", 3, "`input.table`: expected text; found a whole"),
            ("doubled-key", 3, "'table' is given twice"),
        ],
    ),
    "key of nothing": (make_text(x="? \n: 1"), [("bad-key", 6, "expected a key; found nothing")]),
    "key of a list": (make_text(x="? [a]\n: 1"), [("bad-key", 6, "expected a key of plain text; found a list")]),
    # types
    "number for text": (
        make_text(job="job: 5"),
        [("wrong-type", 1, "`job`: expected text; found a whole number. Put it in quotes")],
    ),
    "true for text": (make_text(job="job: true"), [("wrong-type", 1, "expected text; found true. Put it in quotes")]),
    "nothing for text": (make_text(job="job:"), [("wrong-type", 1, "`job`: expected text; found nothing")]),
    "list for text": (make_text(job="job: [a]"), [("wrong-type", 1, "`job`: expected text; found a list")]),
    "mapping for text": (make_text(job="job: {a: b}"), [("wrong-type", 1, "`job`: expected text; found a mapping")]),
    "text for a section": (
        make_text(input="input: flights"),
        [("wrong-type", 3, "`input`: expected a mapping with `table`, `format`, `key`")],
    ),
    "nothing for a section": (make_text(checks="checks:"), [("wrong-type", 6, "found nothing")]),
    "text for a list": (
        make_text(input="input: {table: a/t, key: id}"),
        [("wrong-type", 3, "`input.key`: expected a list; each entry text; found text")],
    ),
    "number in a list": (
        make_text(input="input: {table: a/t, key: [id, 7]}"),
        [("wrong-type", 3, "`input.key.1`: expected text; found a whole number")],
    ),
    "list for a mapping": (
        make_text(engine="engine: {conf: [a]}"),
        [("wrong-type", 6, "`engine.conf`: expected a mapping of names; each value text; found a list")],
    ),
    "number in a free mapping": (
        make_text(engine="engine: {conf: {spark.sql.shuffle.partitions: 4}}"),
        [("wrong-type", 6, "expected text; found a whole number. Put it in quotes")],
    ),
    "text for a number": (
        make_text(checks="checks: {max_quarantine_pct: 5%}"),
        [("wrong-type", 6, "`checks.max_quarantine_pct`: expected a number; found text")],
    ),
    "quoted number": (
        make_text(checks="checks: {max_quarantine_rows: '5'}"),
        [("wrong-type", 6, "expected a whole number; found text")],
    ),
    "fraction for a whole number": (
        make_text(checks="checks: {max_quarantine_rows: 1e3}"),
        [("wrong-type", 6, "expected a whole number; found a number")],
    ),
    "YAML 1.1 boolean": (
        make_text(input="input: {table: a/t, allow_empty: no}"),
        [("wrong-type", 3, "`input.allow_empty`: expected true or false; found text")],
    ),
    "number for a boolean": (
        make_text(input="input: {table: a/t, allow_empty: 1}"),
        [("wrong-type", 3, "expected true or false; found a whole number")],
    ),
    # choices and unions: one fault each
    "choice": (
        make_text(interval="interval: {grain: dayly, column: day}"),
        [("wrong-choice", 2, "expected 'hour', 'day', 'week', 'month' or 'snapshot'; found 'dayly'")],
    ),
    "choice, near": (make_text(scoring="scoring: {device: cudaa}"), [("wrong-choice", 6, "did you mean 'cuda'?")]),
    "choice of another type": (
        make_text(scoring="scoring: {device: 1}"),
        [("wrong-type", 6, "expected 'auto', 'cpu', 'cuda' or 'tensorrt'; found a whole number")],
    ),
    "batch rows, text": (
        make_text(scoring="scoring: {batch_rows: 4k}"),
        [("wrong-choice", 6, "`scoring.batch_rows`: expected a whole number or 'auto'; found '4k'")],
    ),
    "batch rows, fraction": (
        make_text(scoring="scoring: {batch_rows: 1.5}"),
        [("wrong-type", 6, "expected a whole number or 'auto'; found a number")],
    ),
    "null policy, text": (
        make_text(features="features: {columns: [{name: a, on_null: quarantin}]}"),
        [("wrong-choice", 6, "expected 'fail', 'quarantine', 'nan' or a mapping with `impute`; found 'quarantin'")],
    ),
    "null policy, number": (
        make_text(features="features: {columns: [{name: a, on_null: 0}]}"),
        [("wrong-type", 6, "or a mapping with `impute`; found a whole number")],
    ),
    "null policy, impute without value": (
        make_text(features="features: {columns: [{name: a, on_null: impute}]}"),
        [("wrong-choice", 6, "or a mapping with `impute`; found 'impute'")],
    ),
    "null policy, list as value": (
        make_text(features="features: {columns: [{name: a, on_null: {impute: [1]}}]}"),
        [("wrong-type", 6, "`features.columns.0.on_null.impute`: expected true or false, a whole number, a number")],
    ),
    "null policy, unknown key": (
        make_text(features="features: {columns: [{name: a, on_null: {inpute: 1}}]}"),
        [("missing-key", 6, "on_null.impute`: missing"), ("unknown-key", 6, "did you mean 'impute'?")],
    ),
    "null policy, key named as the class": (
        make_text(features="features: {columns: [{name: a, on_null: {impute: 1, ImputeConfig: 2}}]}"),
        [("unknown-key", 6, "`features.columns.0.on_null.ImputeConfig`: no such key; expected impute")],
    ),
    # numbers that JSON cannot carry
    "too many digits": (
        make_text(scoring=f"scoring: {{batch_rows: {'9' * 5000}}}"),
        [("out-of-range", 6, "expected a whole number within ±9007199254740991")],
    ),
    "too large": (
        make_text(checks="checks: {max_quarantine_rows: 9007199254740992}"),
        [("out-of-range", 6, "expected a whole number within")],
    ),
    "infinite": (make_text(checks="checks: {max_quarantine_pct: .inf}"), [("out-of-range", 6, "expected a finite")]),
    "not a number": (
        make_text(features="features: {columns: [{name: a, on_null: {impute: .nan}}]}"),
        [("out-of-range", 6, "expected a finite number")],
    ),
    "overflow": (make_text(checks="checks: {max_quarantine_pct: 1e999}"), [("out-of-range", 6, "64-bit float")]),
    # rules across fields
    "job's name": (make_text(job="job: flights-delay"), [("bad-name", 1, "expected letters, digits and underscores")]),
    "grain without column": (
        make_text(interval="interval: {grain: day}"),
        [("missing-key", 2, "grain 'day' needs `column`")],
    ),
    "snapshot with column": (
        make_text(interval="interval: {grain: snapshot, column: day}"),
        [("not-used", 2, "`interval.column`: a snapshot takes the whole table")],
    ),
    "empty column": (make_text(interval="interval: {column: ' '}"), [("empty", 2, "expected a column's name")]),
    "unknown zone": (
        make_text(interval="interval: {column: day, time_zone: America/New_Yrok}"),
        [("unknown-zone", 2, "did you mean 'America/New_York'?")],
    ),
    "zone outside the zones": (
        make_text(interval="interval: {column: day, time_zone: ../../etc/passwd}"),
        [("unknown-zone", 2, "expected an IANA time zone")],
    ),
    "start of another grain": (
        make_text(interval="interval: {column: day, grain: week, start: 2013-01-01}"),
        [("bad-interval", 2, "`interval.start`: expected one week of the calendar, as 2013-W40 (ISO week)")],
    ),
    "end that is no day": (
        make_text(interval="interval: {column: day, start: 2013-01-01, end: 2013-02-29}"),
        [("bad-interval", 2, "`interval.end`: expected one day of the calendar, as 2013-10-01")],
    ),
    "start at an hour shown twice": (
        make_text(interval="interval: {column: t, grain: hour, time_zone: Europe/Berlin, start: 2013-10-27T02}"),
        [("bad-interval", 2, "`interval.start`: the clock of Europe/Berlin shows this hour twice or never")],
    ),
    "start with its end in one": (
        make_text(interval="interval: {column: day, start: 2013-01-01/2013-01-02}"),
        [("bad-interval", 2, "`interval.start`: expected one day of the calendar")],
    ),
    "end at the start": (
        make_text(interval="interval: {column: day, start: 2013-01-01, end: 2013-01-01}"),
        [("out-of-range", 2, "`interval.end`: expected one day after `start`, 2013-01-01; the job would never be due")],
    ),
    "end before the start": (
        make_text(interval="interval: {column: day, grain: month, start: 2013-02, end: 2012-11}"),
        [("out-of-range", 2, "`interval.end`: expected one month after `start`, 2013-02")],
    ),
    "snapshot with a calendar": (
        make_text(interval="interval: {grain: snapshot, start: 2013-01-01, end: 2014-01-01}"),
        [
            ("not-used", 2, "`interval.start`: a snapshot takes the whole table at any time; remove `start`"),
            ("not-used", 2, "`interval.end`: a snapshot takes the whole table at any time; remove `end`"),
        ],
    ),
    "start in a zone that is none": (
        make_text(interval="interval: {column: day, time_zone: Mars/Olympus, start: 2013-13-01}"),
        [("unknown-zone", 2, "expected an IANA time zone")],
    ),
    "start of a grain that is none": (
        make_text(interval="interval: {column: day, grain: dayly, start: 2013-W01}"),
        [("wrong-choice", 2, "did you mean 'day'?")],
    ),
    "empty table": (make_text(input="input: {table: ''}"), [("empty", 3, "`input.table`: expected a name or path")]),
    "empty suite": (make_text(checks="checks: {input: ' '}"), [("empty", 6, "leave the key out if there is none")]),
    "doubled key column": (
        make_text(input="input: {table: a/t, key: [id, ID]}"),
        [("doubled", 3, "`input.key.1`: column 'ID' is already in the output")],
    ),
    "passthrough of a key": (
        make_text(input="input: {table: a/t, key: [id]}", output="output: {scores: a/s, passthrough: [id]}"),
        [("doubled", 5, "column 'id' is already in the output")],
    ),
    "reserved passthrough": (
        make_text(output="output: {scores: a/s, passthrough: [_run_id]}"),
        [("reserved", 5, "output columns that start with '_' are batchscore's own")],
    ),
    "empty key column": (make_text(input="input: {table: a/t, key: ['']}"), [("empty", 3, "expected a column's name")]),
    "quarantine without key": (
        make_text(input="input: {table: a/t, on_duplicate_key: quarantine}"),
        [("needs-key", 3, "`on_duplicate_key: quarantine` needs `input.key`")],
    ),
    "output collides": (
        make_text(
            input="input: {table: a/t, key: [id]}", model="model: {uri: models:/m/1, outputs: {id: p, b: p, B: q}}"
        ),
        [("collision", 4, "output column 'id' collides"), ("collision", 4, "output column 'B' collides")],
    ),
    "lookup's name": (make_text(lookups=f"lookups: {{a-b: {{{LOOKUP}}}}}"), [("bad-name", 6, "`lookups.a-b`")]),
    "lookup without columns": (
        make_text(lookups="lookups: {w: {table: a/w, on: [], columns: []}}"),
        [("empty", 6, "`lookups.w.on`: expected at least one"), ("empty", 6, "`lookups.w.columns`: expected at least")],
    ),
    "lookup with doubled column": (
        make_text(lookups="lookups: {w: {table: a/w, on: [k], columns: [t, t]}}"),
        [("doubled", 6, "`lookups.w.columns.1`: column 't' stands twice")],
    ),
    "half a point in time": (
        make_text(lookups=f"lookups: {{w: {{{LOOKUP}, at: due}}}}"),
        [("half-given", 6, "needs `at`, `known_at` and `max_age` together")],
    ),
    "duration": (
        make_text(lookups=f"lookups: {{w: {{{LOOKUP}, at: a, known_at: b, max_age: 6 hours}}}}"),
        [("bad-duration", 6, "expected a duration such as '90s', '15m', '6h' or '7d'")],
    ),
    "feature twice": (
        make_text(features="features: {columns: [{name: a}, {name: b}, {name: a}]}"),
        [("doubled", 6, "`features.columns.2.name`: feature 'a' stands twice")],
    ),
    "feature's name": (
        make_text(features="features: {columns: [{name: ''}, {name: _x}]}"),
        [("bad-name", 6, "`features.columns.0.name`"), ("bad-name", 6, "`features.columns.1.name`")],
    ),
    "feature from two sources": (
        make_text(
            lookups=f"lookups: {{w: {{{LOOKUP}}}}}", features="features: {columns: [{name: a, sql: b, from: w.temp}]}"
        ),
        [("too-many", 7, "expected one of `sql`, `from` and `encode`; found sql and from")],
    ),
    "encoders": (
        make_text(
            features="features: {constants: c.json, modules: [a.py, a.py, b.txt], columns: ["
            "{name: a, encode: {do: scale, of: x, size: 3}}, {name: b, encode: {do: hash, of: ' ', size: 1}}, "
            "{name: c, sql: d, encode: {do: impute, of: x}}]}"
        ),
        [
            ("doubled", 6, "module 'a.py' stands twice"),
            ("not-a-file", 6, "expected a Python file"),
            ("not-used", 6, "`do: scale` has no size"),
            ("empty", 6, "expected a column or a feature"),
            ("out-of-range", 6, "expected 2 to 2147483647 for `do: hash`"),
            ("too-many", 6, "found sql and encode"),
        ],
    ),
    "encoder without constants": (
        make_text(features="features: {columns: [{name: a, encode: {do: scale, of: x}}]}"),
        [("missing-key", 6, "name it as `features.constants`")],
    ),
    "empty SQL": (
        make_text(features="features: {columns: [{name: a, sql: ' '}]}"),
        [("empty", 6, "expected a SQL expression")],
    ),
    "unknown lookup": (
        make_text(lookups=f"lookups: {{w: {{{LOOKUP}}}}}", features="features: {columns: [{name: a, from: v.temp}]}"),
        [("unknown-lookup", 7, "the lookups are: w")],
    ),
    "lookup without column": (
        make_text(features="features: {columns: [{name: a, from: temp}]}"),
        [("unknown-lookup", 6, "expected LOOKUP.COLUMN; the lookups are: none")],
    ),
    "unknown lookup column": (
        make_text(lookups=f"lookups: {{w: {{{LOOKUP}}}}}", features="features: {columns: [{name: a, from: w.tmp}]}"),
        [("unknown-column", 7, "did you mean 'w.temp'?")],
    ),
    # windows
    "windows": (
        make_text(
            lookups="""lookups:
  a: {table: a/t, on: [k], at: t, windows: {n: {do: count, over: 1h}}}
  b: {table: a/t, on: [k], at: t, known_at: u, columns: [c], max_age: 1h, windows: {n: {do: count, over: 1h}}}
  c: {table: a/t, on: [k], at: t, known_at: u, windows: {"1": {do: count, over: 1h}, n: {do: sum, over: 1 hour}}}
  d: {table: a/t, on: [k], at: t, known_at: u, windows: {n: {do: median, over: 1h, of: v}}}
  e: {table: a/t, on: [k]}""",
            features="features: {columns: [{name: x, from: a.m}]}",
        ),
        [
            ("half-given", 7, "windows need `at` and `known_at`"),
            ("not-used", 8, "a lookup with `windows` has no `columns`"),
            ("not-used", 8, "a lookup with `windows` has no `max_age`"),
            ("bad-name", 9, "letters, digits and underscores"),
            ("missing-key", 9, "`do: sum` needs `of`"),
            ("bad-duration", 9, "expected a duration"),
            ("wrong-choice", 10, "expected 'count', 'sum'"),
            ("empty", 11, "expected at least one column"),
            ("unknown-column", 12, "lookup 'a' brings: n"),
        ],
    ),
    # several models
    "no model": (
        make_text(model="model: {}"),
        [("one-of", 4, "exactly one of `uri`, `ensemble` and `segments`; found none")],
    ),
    "two kinds of models": (
        make_text(model="model: {uri: models:/m/1, segments: {by: a, models: {x: models:/m/1}}}"),
        [("one-of", 4, "found `uri` and `segments`")],
    ),
    "an ensemble of one": (
        make_text(model="model: {ensemble: [{uri: models:/m/1}]}"),
        [("too-few", 4, "at least two models")],
    ),
    "a member's uri and weight": (
        make_text(model="model:\n  ensemble:\n    - {uri: m, weight: 1}\n    - {uri: models:/m/1, weight: 0}"),
        [("bad-uri", 6, "models:/NAME@ALIAS"), ("out-of-range", 7, "a number above 0")],
    ),
    "a member's inputs": (
        make_text(
            features="features: {columns: [{name: a}]}",
            model="model:\n  ensemble: [{uri: models:/m/1, inputs: {x: [b]}}, {uri: models:/m/2}]",
        ),
        [("unknown-feature", 5, "'b' is not among `features.columns`")],
    ),
    "segments without any": (
        make_text(model="model: {segments: {by: ' ', models: {}}}"),
        [("empty", 4, "the name of a column or feature"), ("empty", 4, "at least one value with its model")],
    ),
    "a segment's uri": (
        make_text(model="model: {segments: {by: a, models: {x: m}, default: models:/m/latest}}"),
        [("bad-uri", 4, "models:/NAME@ALIAS"), ("bad-uri", 4, "never 'latest'")],
    ),
    "a challenger": (
        make_text(model="model: {uri: models:/m/1, challenger: {uri: m, worst: 5000, outputs: {p: 'p['}}}"),
        [
            ("bad-uri", 4, "models:/NAME"),
            ("out-of-range", 4, "from 0 to 1000"),
            ("bad-selector", 4, "expected 'tensor'"),
        ],
    ),
    "tables of no challenger": (
        make_text(output="output: {scores: lake/scores, challenger: lake/a, differences: lake/b}"),
        [("not-used", 5, "only a job with `model.challenger`"), ("not-used", 5, "only a job with `model.challenger`")],
    ),
    # columns computed from scores
    "steps": (
        make_text(
            model="""model:
  uri: models:/m/1
  postprocess:
    - {name: _a, of: p, do: softmax}
    - {name: b, of: p, do: pick}
    - {name: c, of: p, do: pick, index: -1}
    - {name: d, of: p, do: sigmoid, index: 1}
    - {name: e, of: p, do: categories, categories: {low: about 1}}
    - {name: f, of: p, do: calibrate, points: [[0, 0], [0, 1]]}
    - {name: g, of: p, do: calibrate, points: [[0, 0, 0]]}
    - {name: h, of: p, do: softmaxx}
    - {name: b, of: p, do: softmax}"""
        ),
        [
            ("bad-name", 7, "not empty and does not start with '_'"),
            ("missing-key", 8, "`do: pick` needs `index`"),
            ("out-of-range", 9, "a position from 0"),
            ("not-used", 10, "`do: sigmoid` does not read it"),
            ("bad-comparison", 11, "expected comparisons with numbers"),
            ("bad-order", 12, "their first numbers rising"),
            ("bad-point", 13, "a pair of numbers"),
            ("wrong-choice", 14, "did you mean 'softmax'?"),
            ("collision", 15, "collides with a key, passthrough or other output column"),
        ],
    ),
    "model without version": (make_text(model="model: {uri: models:/m}"), [("bad-uri", 4, "models:/NAME@ALIAS")]),
    "latest model": (make_text(model="model: {uri: models:/m/latest}"), [("bad-uri", 4, "never 'latest'")]),
    "model input without features": (
        make_text(model="model: {uri: models:/m/1, inputs: {x: []}}"),
        [("empty", 4, "`model.inputs.x`: expected at least one feature")],
    ),
    "model input of an unknown feature": (
        make_text(
            model="model: {uri: models:/m/1, inputs: {x: [distanse]}}",
            features="features: {columns: [{name: distance}]}",
        ),
        [("unknown-feature", 4, "did you mean 'distance'?")],
    ),
    "output's name": (
        make_text(model="model: {uri: models:/m/1, outputs: {_p: p}}"),
        [("bad-name", 4, "does not start with '_'")],
    ),
    "output's selector": (
        make_text(model="model: {uri: models:/m/1, outputs: {p: 'p[1]'}}"),
        [("bad-selector", 4, "expected 'tensor', 'tensor[:, k]' with `:` for all of a dimension")],
    ),
    "percentage": (make_text(checks="checks: {max_quarantine_pct: 101}"), [("out-of-range", 6, "from 0 to 100")]),
    "quarantine rows": (make_text(checks="checks: {max_quarantine_rows: -1}"), [("out-of-range", 6, "0 or more rows")]),
    "failed rows": (make_text(scoring="scoring: {max_failed_rows: -1}"), [("out-of-range", 6, "0 or more rows")]),
    "batch rows": (make_text(scoring="scoring: {batch_rows: 0}"), [("out-of-range", 6, "'auto' or 1 to 10000000")]),
    "a setting that lets Comet differ from Spark": (
        make_text(engine="engine: {conf: {spark.comet.expression.Cast.allowIncompatible: 'true'}}"),
        [("protected", 6, "'spark.comet.expression.Cast.allowIncompatible' decides values or safety")],
    ),
    "a setting that decides how old dates are read": (
        make_text(engine="engine: {conf: {spark.sql.parquet.datetimeRebaseModeInRead: LEGACY}}"),
        [("protected", 6, "'spark.sql.parquet.datetimeRebaseModeInRead' decides values or safety, which batchscore")],
    ),
    "a family of such settings": (
        make_text(
            engine="engine: {conf: {spark.sql.legacy.timeParserPolicy: LEGACY, spark.sql.shuffle.partitions: '9'}}"
        ),
        [("protected", 6, "'spark.sql.legacy.timeParserPolicy' decides values or safety")],
    ),
    "types of folders": (
        make_text(engine="engine: {conf: {spark.sql.sources.partitionColumnTypeInference.enabled: 'false'}}"),
        [("protected", 6, "'spark.sql.sources.partitionColumnTypeInference.enabled' decides values or safety")],
    ),
    "Comet switched off beside its job": (
        make_text(engine="engine: {conf: {spark.comet.exec.enabled: 'false'}}"),
        [("protected", 6, "'spark.comet.exec.enabled' decides values or safety")],
    ),
    "cores of a task": (
        make_text(engine="engine: {conf: {spark.task.cpus: two}}"),
        [("out-of-range", 6, "expected a whole number of cores from 1, such as '2'")],
    ),
    "no cores of a task": (
        make_text(engine="engine: {conf: {spark.task.cpus: '0'}}"),
        [("out-of-range", 6, "expected a whole number of cores from 1, such as '2'")],
    ),
    "protected setting": (
        make_text(engine="engine: {conf: {spark.sql.ansi.enabled: 'false'}}"),
        [("protected", 6, "'spark.sql.ansi.enabled' decides values or safety")],
    ),
    "memory": (make_text(engine="engine: {driver_memory: lots}"), [("bad-size", 6, "such as '512m' or '4g'")]),
    "empty master": (make_text(engine="engine: {master: ''}"), [("empty", 6, "expected a Spark master")]),
    "output without path": (
        make_text(output="output: {scores: scores}"),
        [("not-a-path", 5, "expected a path with a '/', as './scores'")],
    ),
    "Parquet input without path": (
        make_text(input="input: {table: flights, format: parquet, key: [id]}"),
        [("not-a-path", 3, "expected a path with a '/', as './flights'; a Parquet table has no catalog name")],
    ),
    "output over the input": (
        make_text(output="output: {scores: ./lake/flights/}"),
        [("collision", 5, "this is also `input.table`")],
    ),
    "outputs in one place": (
        make_text(output="output: {scores: a/s, quarantine: a/q, audit: a/q}"),
        [("collision", 5, "`output.audit`: this is also `output.quarantine`")],
    ),
    # references
    "reference in SQL": (
        make_text(features="features: {columns: [{name: a, sql: '${env:HOME}'}]}"),
        [("reference-not-allowed", 6, "references may stand only in input.table")],
    ),
    "reference in a key": (
        make_text(engine="engine: {conf: {'${env:HOME}': a}}"),
        [("reference-not-allowed", 6, "references may stand only in")],
    ),
    "reference to nothing": (
        make_text(input="input: {table: '${env:BATCHSCORE_NOT_SET}/t'}"),
        [("reference-missing", 3, "expected the environment variable 'BATCHSCORE_NOT_SET'; it is not set")],
    ),
    "reference to no file": (
        make_text(registry="registry: {uri: '${file:secrets/none}'}"),
        [("reference-missing", 6, "${file:secrets/none}: expected a file; there is none")],
    ),
    "reference, bare": (
        make_text(input="input: {table: '${HOME}/t'}"),
        [("bad-reference", 3, "expected '${env:NAME}'")],
    ),
    "reference, open": (make_text(input="input: {table: '${env:HOME/t'}"), [("bad-reference", 3, "expected '${env")]),
    "reference, nested": (
        make_text(input="input: {table: '${env:${env:HOME}}/t'}"),
        [("bad-reference", 3, "references do not nest")],
    ),
    "secret setting": (
        make_text(engine="engine: {conf: {fs.s3a.secret.key: canary-4711}}"),
        [("secret-in-file", 6, "a secret may not stand in the job file; write '${env:NAME}'")],
    ),
    "password in a URI": (
        make_text(registry="registry: {uri: 'postgresql://me:canary-4711@host/db'}"),
        [("secret-in-file", 6, "a password may not stand in the job file")],
    ),
    # many at once, from all stages
    "all kinds at once": (
        "job: a-b\n"
        "interval: {grain: day}\n"
        "input: {tabel: x, key: [1]}\n"
        "model: {uri: m, uri: n, outputs: {_p: p}}\n"
        "output: {scores: '${env:BATCHSCORE_NOT_SET}', passthrough: [a, a]}\n"
        "features: {columns: [{name: a, on_null: x}, {name: a}, {name: c, from: w.x}]}\n"
        "scoring: {batch_rows: many}\n",
        [
            ("bad-name", 1, "`job`"),
            ("missing-key", 2, "needs `column`"),
            ("missing-key", 3, "`input.table`"),
            ("unknown-key", 3, "did you mean 'table'?"),
            ("wrong-type", 3, "`input.key.0`"),
            ("bad-uri", 4, "`model.uri`"),
            ("doubled-key", 4, "'uri'"),
            ("bad-name", 4, "`model.outputs._p`"),
            ("reference-missing", 5, "BATCHSCORE_NOT_SET"),
            ("doubled", 5, "`output.passthrough.1`"),
            ("wrong-choice", 6, "`features.columns.0.on_null`"),
            ("doubled", 6, "`features.columns.1.name`"),
            ("unknown-lookup", 6, "`features.columns.2.from`"),
            ("wrong-choice", 7, "`scoring.batch_rows`"),
        ],
    ),
}

HEAD = re.compile(r"^(?P<file>\S+?job\.yaml)(?::(?P<line>\d+):(?P<column>\d+))?: (?P<code>[a-z0-9-]+): ")


def read_faults(message: str) -> tuple[list[tuple[str, int, str]], str]:
    """The message's faults as (code, line, whole text), and its last line."""
    *lines, last = message.split("\n")
    faults: list[tuple[str, int, str]] = []
    for line in lines:
        head = HEAD.match(line)
        if head:
            faults.append((head["code"], int(head["line"] or 0), line))
        else:
            code, number, text = faults.pop()
            faults.append((code, number, f"{text}\n{line}"))
    return faults, last


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_every_fault_is_reported_at_its_place(tmp_path: Path, text: str, expected: Expected) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)
    faults, last = read_faults(str(caught.value))
    assert [fault[:2] for fault in faults] == [want[:2] for want in expected], caught.value
    for fault, want in zip(faults, expected, strict=True):
        assert want[2] in fault[2]
    assert last == f"{len(expected)} fault{'s' if len(expected) > 1 else ''} in {tmp_path / 'job.yaml'}"


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


def test_a_fault_shows_its_line_a_caret_and_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, make_text(input="input:\n  table: lake/flights\n  fromat: delta"))
    assert str(caught.value) == (
        f"{tmp_path}/job.yaml:5:3: unknown-key: `input.fromat`: no such key; "
        "expected table, format, key, on_duplicate_key, allow_empty\n"
        "      fromat: delta\n"
        "      ^ did you mean 'format'?\n"
        f"1 fault in {tmp_path}/job.yaml"
    )


def test_the_column_counts_characters(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"job\.yaml:1:14: unknown-key: `b`") as caught:
        load_text(tmp_path, "{job: 'äöü', b: 1, interval: {grain: snapshot}}")
    source, caret = str(caught.value).split("\n")[-3:-1]
    assert source[caret.index("^") :].startswith("b: 1")


def test_a_long_line_is_shown_around_the_column(tmp_path: Path) -> None:
    columns = ", ".join(f"column_{number}" for number in range(400))
    with pytest.raises(ConfigError) as caught:
        load_text(
            tmp_path, make_text(input=f"input: {{table: a/t, key: [{columns}], formatt: delta, allow_empty: true}}")
        )
    source, caret = str(caught.value).split("\n")[1:3]
    assert len(source) < 140
    assert source[caret.index("^") :].startswith("formatt")


def test_hundreds_of_faults_are_counted_but_not_all_shown(tmp_path: Path) -> None:
    text = make_text() + "".join(f"unknown_{number}: 1\n" for number in range(300))
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)
    assert str(caught.value).endswith(f"... and 200 more\n300 faults in {tmp_path}/job.yaml")


@pytest.mark.parametrize("line", range(1, 1 + FULL.count("\n")))
def test_a_mangled_line_is_a_fault_or_a_job(tmp_path: Path, line: int) -> None:
    lines = FULL.split("\n")
    lines[line - 1] = lines[line - 1].replace(":", "", 1)
    with pytest.raises(ConfigError, match=r"job\.yaml:\d+:\d+: "):
        load_text(tmp_path, "\n".join(lines))
