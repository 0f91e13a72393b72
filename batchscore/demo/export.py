"""Write a fitted scikit-learn estimator as an ONNX model whose predictions agree with it."""

from __future__ import annotations

from typing import Any

import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common._registration import get_converter
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.base import is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier

INPUT = "features"
_OPSETS = {"": 17, "ai.onnx.ml": 3}
_FLAGS = "nodes_missing_value_tracks_true"


def export_onnx(estimator: Any, feature_count: int) -> onnx.ModelProto:
    """The estimator as ONNX.

    Shapes: n rows, f features. Input `features` float32 [n, f]. Outputs of a classifier: `label` int64 [n],
    `probabilities` float32 [n, classes]; of a regressor: `variable` float32 [n, 1].

    Train on float32 values: thresholds between two of them stay between them when they become float32 here.

    Args:
        estimator: A fitted scikit-learn estimator.
        feature_count: Columns that it takes.

    Source: https://onnx.ai/sklearn-onnx/auto_tutorial/plot_icustom_converter.html (converters),
        https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleClassifier.html (missing values)
    """
    options = {id(estimator): {"zipmap": False}} if is_classifier(estimator) else None
    return convert_sklearn(
        estimator,
        initial_types=[(INPUT, FloatTensorType([None, feature_count]))],
        target_opset=_OPSETS,
        options=options,
        custom_conversion_functions={HistGradientBoostingClassifier: _convert_hist_classifier},
        custom_shape_calculators={HistGradientBoostingClassifier: calculate_linear_classifier_output_shapes},
    )


def _convert_hist_classifier(scope: Any, operator: Any, container: Any) -> None:
    get_converter("SklearnHistGradientBoostingClassifier")(scope, operator, _IntegerFlags(container))


class _IntegerFlags:
    """A converter's container that makes integers of the missing-value flags.

    skl2onnx 1.20 gives `False` for leaves to an integer attribute, which onnx 1.23 refuses.
    """

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *args: Any, **attributes: Any) -> None:
        """Add the node with its flags as integers."""
        if _FLAGS in attributes:
            attributes[_FLAGS] = [int(flag) for flag in attributes[_FLAGS]]
        self._container.add_node(*args, **attributes)
