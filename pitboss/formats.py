"""Numbers as a person reads them: one way for each, wherever they are shown."""

import math
from numbers import Integral
from typing import Any


def missing(value: Any) -> bool:
    """Whether there is no value: None, NaN or pandas' NA."""
    return value is None or type(value).__name__ == "NAType" or value != value


def number(value: Any, none: str = "") -> str:
    """Thousands apart, decimals to 3 figures, a small p in powers of ten; `none` for no value."""
    if isinstance(value, str):
        return value
    if missing(value):
        return none
    if type(value).__name__ in ("bool", "bool_"):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{value:,}"
    size = abs(value)
    if 0 < size < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.1f}" if 100 <= size < math.inf else f"{value:.3g}"


def percent(share: float | None, digits: int = 1, none: str = "") -> str:
    """`0.125` -> `12.5%`."""
    return none if missing(share) else f"{share:.{digits}%}"


def between(low: float | None, high: float | None, digits: int = 1, none: str = "") -> str:
    """The interval of a share: `1.2 – 5.6%`."""
    if missing(low) or missing(high):
        return none
    return f"{percent(low, digits)[:-1]} – {percent(high, digits)}"


def interval(value: Any, low: Any, high: Any, shown: str = "{:+.2f}") -> str:
    """`-0.35 [-0.51, -0.16]`; empty where there is no value."""
    if missing(value):
        return ""
    ends = "" if missing(low) else f" [{shown.format(low)}, {shown.format(high)}]"
    return shown.format(value) + ends


def p_value(value: Any) -> str:
    """A p or q; empty for none."""
    if missing(value):
        return ""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def duration(seconds: float | None) -> str:
    """`5400` -> `1 h 30 min`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{seconds / 86_400:.3g} days"


def gb(size: float) -> str:
    """`1.2 GB`, of bytes."""
    return f"{size / 1e9:.1f} GB"


def byte_size(count: float) -> str:
    """`1_500_000` -> `1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
