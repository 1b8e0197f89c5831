"""`celery -A project flower` started by hand: on loopback, and never open to the network without a password."""

from collections.abc import MutableMapping, Sequence

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_AUTH_OPTIONS = ("--basic-auth", "--basic_auth", "--auth")


def guard_flower(arguments: Sequence[str], environ: MutableMapping[str, str], login: str) -> None:
    """Set Flower's own FLOWER_ variables to loopback and ``login`` ("user:password") where nothing else was said.

    Ends the process rather than show every task's name and error to the network.
    """
    environ.setdefault("FLOWER_ADDRESS", LOOPBACK[0])
    if login:
        environ.setdefault("FLOWER_BASIC_AUTH", login)
    asked = [argument.partition("=")[2] for argument in arguments if argument.startswith("--address=")]
    address = asked[-1] if asked else environ["FLOWER_ADDRESS"]
    protected = environ.get("FLOWER_BASIC_AUTH") or environ.get("FLOWER_AUTH_PROVIDER")
    if address in LOOPBACK or protected or any(argument.startswith(_AUTH_OPTIONS) for argument in arguments):
        return
    raise SystemExit(
        f"Flower would show everything to everybody on {address or 'every address'}: "
        "set FLOWER_BASIC_AUTH=user:password, or leave it on loopback"
    )
