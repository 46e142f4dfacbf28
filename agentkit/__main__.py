"""`python -m agentkit`: the same as the command `agentkit`."""

from __future__ import annotations

import sys

from agentkit.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
