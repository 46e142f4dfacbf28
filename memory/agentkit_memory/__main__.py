"""`python -m agentkit_memory --help`."""

from __future__ import annotations

import argparse


def main() -> None:
    """Say what this package is; the commands live in `agentkit`."""
    argparse.ArgumentParser(
        prog="python -m agentkit_memory",
        description="Encrypted memory: records and vectors that never touch a disk in clear. "
        "Used as a library (memory/README.md) and through the command `agentkit`.",
    ).parse_args()


if __name__ == "__main__":
    main()
