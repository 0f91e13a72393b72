# ruff: noqa: E501
"""Feature modules, their order, and what defines a feature: without Spark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jobs_in_yaml import load_text, make_text

from batchscore.config import EncodeConfig, FeatureConfig, Job
from batchscore.errors import ConfigError, ModelError
from batchscore.features.definitions import define_features, find_skew, read_sources
from batchscore.features.encoders import constants_of, read_constants
from batchscore.features.marks import arrow_feature, feature
from batchscore.features.modules import Function, read_modules
from batchscore.features.steps import layer_steps, order_steps
from batchscore.features.words import level_spaces

MODULE = '''
"""Features of a test."""
from batchscore import arrow_feature, feature

HALF = 0.5  # a constant
OTHER = 3


def halve(x):
    """Half of it."""
    return x * HALF


@feature
def half_a(a):
    return halve(a)


@feature
def quarter_a(half_a):
    return halve(half_a)


@arrow_feature(returns="double")
def doubled(a):
    return a
'''


def modules(folder: Path, text: str = MODULE, name: str = "own.py") -> dict[str, Function]:
    (folder / name).write_text(text)
    return read_modules({name: str(folder / name)})


TOUCHED = [
    ("C = {}\nC['k'] = 1.0\n", "1.0", "2.0"),
    ("C = 1\nC += 2\n", "C = 1", "C = 3"),
    ("C = 1\nC = C * 2\n", "C = 1", "C = 3"),
    ("C = [1]\nC.append(2)\n", "append(2)", "append(3)"),
    ("C = []\nfor i in range(3):\n    C.append(i)\n", "range(3)", "range(4)"),
    ("class C:\n    pass\n\nC.k = 1\n", "k = 1", "k = 2"),
    ("C = 1\n\ndef change():\n    global C\n    C = 2\n\nchange()\n", "C = 2", "C = 3"),
    ("from math import *\nC = 1\n", "math", "cmath"),
    ("C = 1\nD = globals()['C']\n", "C = 1", "C = 2"),
    ("if True:\n    C = 1\nelse:\n    C = 2\n", "C = 2", "C = 3"),
]


@pytest.mark.parametrize(("text", "old", "new"), TOUCHED)
def test_whatever_may_touch_a_name_counts(text: str, old: str, new: str, tmp_path: Path) -> None:
    use = "\nfrom batchscore import feature\n\n@feature\ndef f(a):\n    return (a, C)\n"
    before, after = modules(tmp_path, text + use), modules(tmp_path, text.replace(old, new) + use)
    assert before["f"].code != after["f"].code


def test_files_beside_a_module_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beside_it.py").write_text("K = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"own\.py:2: expected imports of installed packages alone; found beside_it"):
        modules(tmp_path, "import json\nimport beside_it\n")


def test_marked_functions_are_found(tmp_path: Path) -> None:
    found = modules(tmp_path)
    assert {name: (one.mark.kind, one.mark.inputs, one.line) for name, one in found.items()} == {
        "half_a": ("column", ("a",), 14),
        "quarter_a": ("column", ("half_a",), 19),
        "doubled": ("arrow", ("a",), 24),
    }
    assert found["half_a"].call(4) == 2.0


def test_a_function_is_its_own_code_and_what_it_uses(tmp_path: Path) -> None:
    before = modules(tmp_path)
    cases = [
        ("HALF = 0.5", "HALF = 0.25", {"half_a", "quarter_a"}),
        ("OTHER = 3", "OTHER = 4", set()),
        ('"""Half of it."""', '"""One half of it."""', set()),
        ("# a constant", "# half", set()),
        ("return x * HALF", "return HALF * x", {"half_a", "quarter_a"}),
        ("return a\n", "return [a][0]\n", {"doubled"}),
        ('returns="double"', 'returns="float"', {"doubled"}),
        ("\n\n@feature\ndef half_a", "\n\n\n\n@feature\ndef half_a", set()),
    ]
    for old, new, changed in cases:
        assert old in MODULE
        after = modules(tmp_path, MODULE.replace(old, new))
        assert {name for name in before if before[name].code != after[name].code} == changed, (old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "own.py:1: expected Python; it does not parse: invalid syntax"),
        ("x = 1\ny = 1 / 0\n", "own.py:2: expected a module that can be imported; it raises ZeroDivisionError: division by zero"),
        ("from batchscore import feature\n\n@feature\ndef f(a, b=1):\n    return a\n", "own.py:3: @feature f: expected parameters that name columns, without defaults; found b"),
        ("from batchscore import feature\n\n@feature\ndef f(*columns):\n    return 1\n", "@feature f: expected parameters that name columns, without defaults; found columns"),
        ("from batchscore import feature\n\n@feature\ndef f():\n    return 1\n", "@feature f: expected parameters that name columns, without defaults; found none"),
        ("from batchscore import arrow_feature\n\n@arrow_feature\ndef f(a):\n    return 1\n", "own.py:3: @arrow_feature: expected (returns='double'), or another type's name; found none"),
        ("import sys\nsys.exit(3)\n", "own.py:2: expected a module that can be imported; it raises SystemExit: 3"),
        ("from batchscore import feature\n\n@feature\ndef f(a):\n    return 1\n\ng = f\n", "own.py: expected one name for 'f'; found also 'g'"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_used(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        modules(tmp_path, text)
    assert message in str(caught.value)


def test_a_missing_module_and_one_name_in_two(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"features.modules: expected a Python file at none.py; found: No such file"):
        read_modules({"none.py": str(tmp_path / "none.py")})
    modules(tmp_path)
    (tmp_path / "two.py").write_text(MODULE)
    with pytest.raises(
        ConfigError, match=r"two.py: expected feature 'half_a' once; own.py:14: half_a has that name too"
    ):
        read_modules({name: str(tmp_path / name) for name in ("own.py", "two.py")})


def test_marks_take_functions_alone() -> None:
    with pytest.raises(ConfigError, match="@feature: expected a function; found int"):
        feature(3)  # type: ignore[type-var]
    with pytest.raises(ConfigError, match="returns='double'"):
        arrow_feature(returns=float)  # type: ignore[arg-type]


def order(features: list[FeatureConfig], columns: list[str], functions: dict[str, Function] | None = None) -> Any:
    def names_of(sql: str, where: str) -> list[str]:
        return [word for word in sql.split() if word.isidentifier()]

    return order_steps(features, functions or {}, columns, "job.yaml:{}".format, names_of)


def sql(name: str, text: str) -> FeatureConfig:
    return FeatureConfig(name=name, sql=text)


def test_features_are_ordered_by_what_they_read(tmp_path: Path) -> None:
    listed = [sql("c", "b + quarter_a"), sql("b", "A + 1"), FeatureConfig(name="a"), FeatureConfig(name="half_a")]
    steps = order(listed, ["a"], modules(tmp_path))
    assert [(s.name, s.kind, s.listed) for s in steps] == [
        ("b", "sql", True),
        ("half_a", "python", True),
        ("quarter_a", "python", False),
        ("c", "sql", True),
        ("a", "input", True),
    ]
    assert [[s.name for s in layer] for layer in layer_steps(steps)] == [["b", "half_a"], ["quarter_a"], ["c"]]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([sql("x", "shadowed + 1")], "own.py:29: shadowed: the input table or a lookup already has this name"),
        ([sql("x", "y + 1"), sql("y", "z"), sql("z", "x")], "job.yaml:0 (x): expected features that do not read themselves; found x → y → z → x. Break it."),
        ([sql("x", "X + 1")], "job.yaml:0 (x): expected features that do not read themselves; found x → x"),
        ([sql("a", "1")], "job.yaml:0 (a): the input table or a lookup already has this name"),
        ([sql("A", "1")], "job.yaml:0 (A): the input table or a lookup already has this name"),
        ([FeatureConfig(name="a"), sql("x", "amount2")], "job.yaml:1 (x): expected columns of the input table, lookups or other features; found `amount2`, which is none of them. Did you mean one of: amount?"),
        ([FeatureConfig(name="amonut")], "job.yaml:0 (amonut): expected an input column or a marked function of this name, `sql`, `from` or `encode`; found none of them. Did you mean 'amount'?"),
        ([sql("half_a", "1")], "job.yaml:0 (half_a): expected one definition; own.py:14: half_a is another"),
        ([FeatureConfig(name="e", encode=EncodeConfig(do="scale", of="nothing"))], "job.yaml:0 (e): expected columns of the input table, lookups or other features; found `nothing`"),
    ],
)  # fmt: skip
def test_features_that_have_no_order(features: list[FeatureConfig], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        order(
            features,
            ["a", "amount", "shadowed"],
            modules(tmp_path, f"{MODULE}\n\n@feature\ndef shadowed(a):\n    return a\n"),
        )
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("do", "values", "message"),
    [
        ("scale", {"mean": 1, "std": 0.0}, "expected a finite mean, and a standard deviation above 0"),
        ("scale", {"mean": 1}, "expected `std`; found none of its kind"),
        ("scale", {"mean": True, "std": 1}, "expected `mean`; found none of its kind"),
        ("ordinal", {"categories": ["x", 1]}, "expected different categories of one type"),
        ("one_hot", {"categories": []}, "expected different categories of one type"),
        ("one_hot", {"categories": ["x", "x"]}, "expected different categories of one type"),
        ("hash", {"size": 1}, "expected 2 or more buckets"),
        ("bucketize", {"edges": [1, 1]}, "expected edges, each above the one before"),
        ("bucketize", {"edges": [True]}, "expected edges, each above the one before"),
        ("impute", {"value": None}, "expected `value`; found none of its kind"),
        ("impute", {"value": float("nan")}, "expected a finite value"),
    ],
)  # fmt: skip
def test_constants_of_no_use(do: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=r"constants\.json: f: ") as caught:
        constants_of("f", EncodeConfig(do=do, of="a"), {"f": {"do": do, **values}}, "constants.json")
    assert message in str(caught.value)
    assert "Run `batchscore fit-encoders` again." in str(caught.value)


def test_constants_of_another_encoder_or_none() -> None:
    encode = EncodeConfig(do="hash", of="a")
    with pytest.raises(ConfigError, match="expected constants of `hash`; found those of `scale`"):
        constants_of("f", encode, {"f": {"do": "scale"}}, "c.json")
    with pytest.raises(ConfigError, match="expected its constants; found g"):
        constants_of("f", encode, {"g": {}}, "c.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "found: No such file"), ("{", "expected JSON"), ("[]", "expected a mapping"), ('{"f": 1}', "expected a mapping")],
)  # fmt: skip
def test_a_constants_file_of_no_use(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "c.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_constants("c.json", str(tmp_path / "c.json"))


JOB = """
lookups:
  cities: {table: ./cities, on: [city], columns: [size, mayor]}
  sky: {table: ./sky, on: [city], at: at, known_at: seen, max_age: 6h, columns: [temp]}
features:
  modules: [own.py]
  constants: constants.json
  columns:
    - {name: a}
    - {name: ratio, sql: "b  / cities.size"}
    - {name: twice, sql: "ratio * 2 || 'ratio  x'", on_null: nan}
    - {name: temp, from: sky.temp, on_null: {impute: 1.0}}
    - {name: quarter_a}
    - {name: scaled, encode: {do: scale, of: ratio}}
"""


def defined(folder: Path, old: str = "", new: str = "", module: str = MODULE, **constants: Any) -> Any:
    assert old in JOB
    (folder / "own.py").write_text(module)
    (folder / "constants.json").write_text(json.dumps({"scaled": {"do": "scale", "mean": 0, "std": 2.0, **constants}}))
    job: Job = load_text(folder, make_text() + (JOB.replace(old, new) if old else JOB))
    return define_features(job, read_sources(job), job.config.features.columns)


@pytest.mark.parametrize(
    ("change", "differ"),
    [
        (dict(old="cities: {table: ./cities", new="cities: {table: ./other"), set()),
        (dict(old="b  / cities.size", new="b / cities.size"), set()),
        (dict(old="b  / cities.size", new="b + cities.size"), {"ratio", "twice", "scaled"}),
        (dict(old="'ratio  x'", new="'ratio x'"), {"twice"}),
        (dict(old="on_null: nan", new="on_null: fail"), {"twice"}),
        (dict(old="impute: 1.0", new="impute: 2.0"), {"temp"}),
        (dict(old="max_age: 6h", new="max_age: 7h"), {"temp"}),
        (dict(old="columns: [temp]", new="columns: [humid, temp]"), {"temp"}),
        (dict(old="columns: [size, mayor]", new="columns: [mayor, size]"), set()),
        (dict(old="of: ratio", new="of: b"), {"scaled"}),
        (dict(old="b  / cities.size", new="b /* it's */  / cities.size"), {"ratio", "twice", "scaled"}),
        (dict(old="{name: a}", new="{name: a, on_null: nan}"), {"a"}),
        (dict(std=3.0), {"scaled"}),
        (dict(module=MODULE.replace("HALF = 0.5", "HALF = 0.4")), {"quarter_a"}),
        (dict(module=MODULE.replace("return halve(a)", "return a")), {"quarter_a"}),
        (dict(module=MODULE.replace("OTHER = 3", "OTHER = 4")), set()),
    ],
)  # fmt: skip
def test_a_definition_is_all_that_decides_a_feature(change: dict[str, Any], differ: set[str], tmp_path: Path) -> None:
    before, after = defined(tmp_path), defined(tmp_path, **change)
    found = {n for n in before.features if before.features[n].sha256 != after.features[n].sha256}
    assert found == differ
    assert (before.sha256 != after.sha256) == bool(differ)


def test_skew_names_the_features_that_a_model_takes(tmp_path: Path) -> None:
    logged = json.loads(defined(tmp_path).logged())
    own = defined(tmp_path, old="b  / cities.size", new="b + cities.size")
    found = find_skew("m/1", logged, ["a", "ratio"], own)
    assert [(s.model, s.feature, s.trained, s.job) for s in found] == [
        ("m/1", "ratio", "b / cities.size, quarantine", "b + cities.size, quarantine")
    ]
    helped = find_skew(
        "m/1", logged, ["quarter_a"], defined(tmp_path, module=MODULE.replace("return halve(a)", "return a"))
    )
    assert [(s.trained, s.job.partition("(")[2]) for s in helped] == [(helped[0].trained, "defined otherwise: half_a)")]
    del logged["features"]["a"]
    assert [s.trained for s in find_skew("m/1", logged, ["a"], own)] == [""]
    with pytest.raises(ModelError, match="expected feature definitions of form 1; found form 2"):
        find_skew("m/1", {**logged, "form": 2}, ["a"], own)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a  +\n1", "a + 1", True),
        ("'x  y'", "'x y'", False),
        ("a -- note\n + 1", "a -- note + 1", False),
        ("r'\\' || 'x  y'", "r'\\' || 'x y'", False),
        ("/* it's */ 'x  y'", "/* it's */ 'x y'", False),
    ],
)
def test_only_white_space_outside_quotes_is_levelled(one: str, other: str, same: bool) -> None:
    assert (level_spaces(one) == level_spaces(other)) is same


def test_what_is_keyed_is_what_the_config_does_not_hold(tmp_path: Path) -> None:
    keyed = defined(tmp_path).keyed
    assert sorted(keyed["code"]) == ["half_a", "quarter_a"]
    assert keyed["constants"] == {"scaled": {"mean": 0, "std": 2.0}}
