"""Train small models with the usual trainers and export them; run it to renew the files beside it.

The trainers are no dependency of the tests: their ONNX files and their own predictions are kept here. Needs

    pip install scikit-learn skl2onnx lightgbm xgboost onnxmltools torch onnxscript onnxruntime

Written with scikit-learn 1.9.1, skl2onnx 1.20.0, lightgbm 4.7.0, xgboost 3.2.0, onnxmltools 1.16.0, torch 2.15.0.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import onnxmltools
import onnxruntime
import pandas as pd
import torch
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as OldFloats
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HERE = Path(__file__).parent
ROWS = 40
TRAINING_ROWS = 600
RANDOM = np.random.default_rng(2013)


def keep(name, content, columns, expected, inputs=None, outputs=None, tolerance=1e-5) -> None:
    """Write a model, the rows, and what its trainer makes of them."""
    model = onnx.load_model_from_string(content)
    for thing in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del thing.metadata_props[:]  # PyTorch writes the source files' paths there
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
    told = {
        "inputs": inputs or {},
        "outputs": outputs or {},
        "tolerance": tolerance,
        "columns": {key: np.asarray(values).tolist() for key, values in columns.items()},
        "expected": {key: np.asarray(values).tolist() for key, values in expected.items()},
    }
    (HERE / f"{name}.json").write_text(json.dumps(told) + "\n", encoding="utf-8")


def train_sklearn() -> None:
    """A pipeline over columns of strings, numbers and booleans, classes by name, probabilities as maps."""
    frame = pd.DataFrame(
        {
            "carrier": RANDOM.choice(["UA", "DL", "B6"], TRAINING_ROWS),
            "origin": RANDOM.choice(["EWR", "JFK"], TRAINING_ROWS),
            "distance": RANDOM.uniform(100, 3000, TRAINING_ROWS).astype(np.float32),
            "hour": RANDOM.integers(5, 23, TRAINING_ROWS),
        }
    )
    late = np.where(
        frame.hour + 3 * (frame.carrier == "UA") + RANDOM.normal(0, 3, TRAINING_ROWS) > 15, "late", "on time"
    )
    prepare = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["carrier", "origin"]),
        (StandardScaler(), ["distance", "hour"]),
    )
    pipeline = make_pipeline(prepare, LogisticRegression()).fit(frame, late)
    types = [
        ("carrier", StringTensorType([None, 1])),
        ("origin", StringTensorType([None, 1])),
        ("distance", FloatTensorType([None, 1])),
        ("hour", Int64TensorType([None, 1])),
    ]
    model = to_onnx(pipeline, initial_types=types, target_opset={"": 18, "ai.onnx.ml": 3})
    rows = frame.head(ROWS)
    probabilities = pipeline.predict_proba(rows)
    keep(
        "sklearn",
        model.SerializeToString(),
        dict(rows.items()),
        {"label": pipeline.predict(rows), "p": probabilities[:, 0]},
        outputs={"label": "output_label", "p": 'output_probability[:, "late"]'},
    )


def train_trees() -> None:
    """A LightGBM classifier of three classes, and an XGBoost regressor, on float32 columns."""
    x = RANDOM.normal(size=(TRAINING_ROWS, 4)).astype(np.float32)
    columns = {name: x[:ROWS, k] for k, name in enumerate("abcd")}
    packed = {"input": list("abcd")}
    classes = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)
    booster = lightgbm.LGBMClassifier(n_estimators=10, num_leaves=7, verbose=-1).fit(x, classes)
    model = onnxmltools.convert_lightgbm(
        booster, initial_types=[("input", OldFloats([None, 4]))], zipmap=False, target_opset=15
    )
    expected = {"label": booster.predict(x[:ROWS]), "probabilities": booster.predict_proba(x[:ROWS])}
    keep("lightgbm", model.SerializeToString(), columns, expected, packed)
    regressor = xgboost.XGBRegressor(n_estimators=10, max_depth=3).fit(x, x[:, 0] * 2 + x[:, 2])
    model = onnxmltools.convert_xgboost(regressor, initial_types=[("input", OldFloats([None, 4]))], target_opset=15)
    output = {"y": model.graph.output[0].name}
    keep("xgboost", model.SerializeToString(), columns, {"y": regressor.predict(x[:ROWS])}, packed, output)


class Net(torch.nn.Module):
    """A sequence [N, 6, 2] through a GRU, beside an embedded category [N], to two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.recur = torch.nn.GRU(2, 8, batch_first=True)
        self.embed = torch.nn.Embedding(5, 4)
        self.head = torch.nn.Linear(12, 3)

    def forward(self, series, category):
        """Logits [N, 3] and the last hidden state [N, 8]."""
        _, hidden = self.recur(series)
        hidden = hidden[-1]
        return self.head(torch.cat([hidden, self.embed(category)], dim=1)), hidden


def train_torch() -> None:
    """The net above, with a dynamic batch."""
    torch.manual_seed(2013)
    net = Net()
    series = torch.randn(TRAINING_ROWS, 6, 2)
    category = torch.randint(0, 5, (TRAINING_ROWS,))
    wanted = (series.sum(dim=(1, 2)) > 0).long() + (category > 2).long()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(series, category)[0], wanted).backward()
        optimiser.step()
    net.eval()
    path = HERE / "torch.onnx"
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        net, (series[:2], category[:2]), path, dynamo=True, external_data=False, opset_version=18,
        input_names=["series", "category"], output_names=["logits", "hidden"],
        dynamic_shapes={"series": {0: batch}, "category": {0: batch}},
    )  # fmt: skip
    with torch.no_grad():
        logits, hidden = net(series[:ROWS], category[:ROWS])
    columns = {"series": series[:ROWS], "category": category[:ROWS]}
    keep("torch", path.read_bytes(), columns, {"logits": logits, "hidden": hidden})


class Calibration(CalibrationDataReader):
    """One batch to choose scales by."""

    def __init__(self, rows) -> None:
        self.left = [rows]

    def get_next(self):
        """The batch, once."""
        return self.left.pop() if self.left else None


def train_int8() -> None:
    """A multilayer perceptron of PyTorch's, quantised to int8 with fixed scales."""
    torch.manual_seed(7)
    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    x = torch.randn(TRAINING_ROWS, 4)
    wanted = x[:, :1] * 2 - x[:, 1:2]
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(net(x), wanted).backward()
        optimiser.step()
    plain, path = HERE / "plain.onnx", HERE / "int8.onnx"
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(
        net, (x[:2],), plain, dynamo=True, external_data=False, opset_version=18,
        input_names=["x"], output_names=["y"], dynamic_shapes=shapes,
    )  # fmt: skip
    # 7 bits: with 8, sums of products overflow on processors without VNNI, and scores depend on the machine
    quantize_static(plain, path, Calibration({"x": x.numpy()}), quant_format=QuantFormat.QDQ, reduce_range=True)
    plain.unlink()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x[:ROWS].numpy()})
    columns = {name: x[:ROWS, k] for k, name in enumerate("abcd")}
    keep("int8", path.read_bytes(), columns, {"y": found[:, 0]}, {"x": list("abcd")})


if __name__ == "__main__":
    train_sklearn()
    train_trees()
    train_torch()
    train_int8()
