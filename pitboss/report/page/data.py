"""Plain data for the browser: numbers cut to what is shown, tables as columns of JSON."""

import json
from typing import Any

import numpy as np
import pandas as pd

FEATURE = ["layer", "feature"]


def plain(value: Any, digits: int = 4) -> Any:
    """A cell as JSON has it: null for NaN, floats to `digits` significant figures."""
    if value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return None
        short = float(f"{value:.{digits}g}")
        return int(short) if short == int(short) and abs(short) < 1e6 else short
    return value


def column(values: pd.Series, digits: int = 4) -> list[Any]:
    """A column as JSON has it."""
    return [plain(value, digits) for value in values.tolist()]


def columns(frame: pd.DataFrame, digits: int = 4) -> dict[str, list[Any]]:
    """A frame as JSON has it, column by column: names are said once, not in every row."""
    return {str(name): column(frame[name], digits) for name in frame.columns}


def script_json(value: Any) -> str:
    """JSON that can stand inside a script element, whatever its texts are."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
