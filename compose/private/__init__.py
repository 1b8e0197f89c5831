"""The platform's processes without Docker: private, on loopback only, everything they write under ``var/``.

Standard library only, because this runs before the virtual environment exists. ``python3 -m compose.private`` is the
command line, ``servers.private_servers`` the door for tests and scripts, ``cluster.private_cluster`` that to a broker
which can lose a node.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VAR = ROOT / "var"
