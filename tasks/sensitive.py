"""The declaration that a field of a payload is nobody's business: `card: Annotated[str, Sensitive()]`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sensitive:
    """Marks a field of a payload, with all that lies in it: masked for whoever has no permission to see it.

    Names like password, token or secret, and Pydantic's SecretStr, are masked without it.
    """
