"""``python3 -m compose.private COMMAND``: see ``--help``, or the Makefile, which calls nothing else."""

import sys

from compose.private.commands import main

sys.exit(main(sys.argv[1:]))
