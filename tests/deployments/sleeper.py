"""A flow that runs until it is stopped, for the test of `down`."""

import time

from prefect import flow


@flow
def sleeper() -> None:
    while True:
        time.sleep(1)
