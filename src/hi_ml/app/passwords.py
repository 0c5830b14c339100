"""Where does a password stand in a text, and how is it kept out of all that a run says or writes?"""

import re
from collections.abc import Mapping
from typing import Any

from hi_ml.app.errors import ConfigurationInvalid

_USER = r"[^/:@?#\s]*"
_IN_ADDRESS = re.compile(rf"(?<=://){_USER}:(?=\S)[^\n]*?@(?:\S*@)?")  # a password may hold any mark
_IN_QUERY = re.compile(r"(?i)(?<=[?&;])((?:\w*password|passwd|pwd|\w*secret|\w*token)=)[^&;#\s'\"]+")
_USER_ALONE = re.compile(r"(?<=://)[^/@\s]*@")


def has_password(text: str) -> bool:
    """Tell whether an address in a text holds a password.

    Examples
    --------
    >>> has_password("postgresql://ann:s/cret@db/ward"), has_password("postgresql://ann@db/ward?password=secret")
    (True, True)
    >>> has_password("postgresql://ann@db:5432/ward"), has_password("models:/kaggle.billing@champion")
    (False, False)
    """
    return bool(_IN_ADDRESS.search(text) or _IN_QUERY.search(text))


def without_password(text: str) -> str:
    """Return a URI, or a text with URIs in it, without the users and passwords that may stand there.

    Examples
    --------
    >>> without_password("https://ann:secret@mlflow.example/ did not answer")
    'https://mlflow.example/ did not answer'
    """
    return _IN_QUERY.sub(r"\1***", _USER_ALONE.sub("", _IN_ADDRESS.sub("", text)))


def refuse_passwords(node: Any, *, key: str = "") -> None:
    """Refuse a configuration in which an address holds a password, before anything of it is written.

    Raises
    ------
    ConfigurationInvalid
        With the key, not the value.
    """
    if isinstance(node, Mapping):
        for name, value in node.items():
            refuse_passwords(value, key=f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            refuse_passwords(value, key=f"{key}[{index}]")
    elif isinstance(node, str) and has_password(node):
        raise ConfigurationInvalid.password(key)
