"""`python -m training build | verify`."""

import argparse
import sys

from pitboss.errors import PitbossError
from pitboss.models.catalogue import LAB_DIR
from training import manifest


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build_command = commands.add_parser("build", help="train everything and write lab/")
    build_command.add_argument(
        "parts", nargs="*", metavar="PART", help="llama-model, gemma-model, llama-saes, gemma-saes"
    )
    commands.add_parser("verify", help="compare lab/ with its manifest")
    arguments = parser.parse_args()
    try:
        if arguments.command == "verify":
            print(f"{manifest.verify(LAB_DIR)} files as listed in {LAB_DIR / manifest.NAME}")
        else:
            import torch

            from training.build import PARTS, build

            unknown = set(arguments.parts) - set(PARTS)
            if unknown:
                parser.error(f"unknown part {', '.join(sorted(unknown))}")
            torch.set_num_threads(1)  # sums depend on how threads split them
            build(arguments.parts or list(PARTS), lambda line: print(line, flush=True))
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
