"""Which Python to run on. This file and ``__main__`` stay readable to an old one, which is then sent away politely."""

import os
import shutil
import subprocess
import sys

OLDEST, TOO_NEW = (3, 11), (3, 14)
NAMES = ("python3", "python3.13", "python3.12", "python3.11")


def require_fitting() -> None:
    """Return on a supported Python; on another one start over with the first supported one on the PATH, or exit 2."""
    if OLDEST <= sys.version_info[:2] < TOO_NEW:
        return
    test = f"import sys; sys.exit(not {OLDEST} <= sys.version_info[:2] < {TOO_NEW})"
    for path in filter(None, map(shutil.which, NAMES)):
        if subprocess.call([path, "-c", test]) == 0:
            os.execv(path, [path, "-m", "compose.private", *sys.argv[1:]])
    found = ".".join(map(str, sys.version_info[:2]))
    print(f"Python 3.11, 3.12 or 3.13 is needed and this is {found}: sudo apt-get install python3.11 python3.11-venv")
    sys.exit(2)
