"""``python3 -m compose.private COMMAND``: see ``--help``, or the Makefile, which calls nothing else."""

import sys

from compose.private.interpreter import require_fitting

require_fitting()

from compose.private.commands import main  # noqa: E402  an old Python must not even read it

sys.exit(main(sys.argv[1:]))
