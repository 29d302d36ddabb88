"""Sealed values: AES-256-GCM under a data key, which is itself sealed under a master key that never lies beside what it opens.

`Key` is one key, `seal` and `unseal` use it, and `MasterKeys` reads master keys from where the configuration says. Nothing here is loaded,
and `cryptography` least of all, before something is sealed or opened.
"""

from trueup.sealing.keys import Key, NotOpenedError, new_key, parse_keys, seal, unseal
from trueup.sealing.master import MasterKeys

__all__ = ["Key", "MasterKeys", "NotOpenedError", "new_key", "parse_keys", "seal", "unseal"]
