"""One definition of how a game ends, shared by every experiment."""

from enum import StrEnum


class Outcome(StrEnum):
    """How a game ended.

    The original study used four different definitions of bankruptcy and counted everything
    else as a voluntary stop; here each ending has its own name.
    """

    BANKRUPTCY = "bankruptcy"
    """The balance is zero."""

    VOLUNTARY_STOP = "voluntary_stop"
    """The player chose to stop."""

    ROUND_LIMIT = "round_limit"
    """The last permitted round was played and money is left."""

    STUCK = "stuck"
    """Money is left, but less than the smallest stake."""

    ABORTED = "aborted"
    """No decision could be obtained; the game carries the reason and counts as no observation."""
