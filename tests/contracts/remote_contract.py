"""What every remote keeps: the contract of remote/interface.py. Subclass it and provide `remote`.

Where remotes differ, a test asks `capabilities`, and what is missing must say Unsupported.
"""

from __future__ import annotations

from tests.contracts.remote_applying import ApplyingContract
from tests.contracts.remote_changing import ChangingContract
from tests.contracts.remote_reading import ReadingContract
from tests.contracts.remote_storing import StoringContract


class RemoteContract(ReadingContract, StoringContract, ChangingContract, ApplyingContract):
    """All of it."""
