"""Row rules on Arrow arrays: each kind of rule says which rows fail, with Great Expectations' semantics on Spark.

Nulls: a rule on one column leaves nulls out, except `not_null` and `null`. A rule on several leaves out the rows that
its `ignore_row_if` names; of the rest, `pair_greater` lets a row with one null pass (its condition is null) and
the others compare as Spark's null-safe equality does. NaN is greater than any number and equal to NaN; -0.0 equals 0.0.
Numbers meet bounds as doubles, except decimals, which are compared exactly.
Source: Great Expectations 1.24, expectations/metrics/{column,column_pair,multicolumn}_map_metrics (Spark engine).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from batchscore.kernel.arrays import Verdict, to_bools
from batchscore.kernel.column_rules import COLUMN_KINDS
from batchscore.kernel.multi_rules import MULTI_KINDS
from batchscore.kernel.spec import RuleSpec

KINDS = {**COLUMN_KINDS, **MULTI_KINDS}


def evaluate(rule: RuleSpec, columns: Mapping[str, pa.Array]) -> Verdict:
    """Find the rows that fail a rule.

    Shapes: n rows in each column.

    Args:
        rule: The rule; its `kind` is a key of `KINDS`.
        columns: Column name to array [n]; must hold what the rule reads, of the types it was compiled for.

    Returns:
        ([n] bool, true where the row fails; the number of rows evaluated, as GX counts them).
    """
    arrays = tuple(decode(columns[name]) for name in rule.reads)
    if not rule.condition:
        return KINDS[rule.kind](arrays, rule.args)
    held = to_bools(columns[rule.condition])
    chosen = pa.array(held)
    fails, evaluated = KINDS[rule.kind](tuple(array.filter(chosen) for array in arrays), rule.args)
    whole = np.zeros(len(held), dtype=bool)
    whole[held] = fails
    return whole, evaluated


def decode(array: pa.Array) -> pa.Array:
    """An array without dictionary encoding."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
