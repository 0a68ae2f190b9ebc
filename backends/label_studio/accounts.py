"""labelpilot's own account in Label Studio: what it annotates by itself is under no person's name.

Label Studio lets whoever may use its API make accounts and store annotations under them. Nobody
logs in with this one: its password is random and kept nowhere.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from backends.errors import LabelStudioError, LabelStudioRefused
from backends.label_studio.client import told

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

# A domain that cannot be anybody's (RFC 2606): no mail ever goes there.
OWN_EMAIL = "labelpilot@labelpilot.invalid"


def find_own_account(client: LabelStudio) -> int | None:
    """The user id of our account, None if it was never made. Errors: `LabelStudioError`.

    A token that may not list users made none either.
    """
    try:
        with told("listing users"):
            users = client.users.list()
    except LabelStudioRefused:
        return None
    return next((int(one.id) for one in users if one.email == OWN_EMAIL), None)


def own_account(client: LabelStudio) -> int:
    """The user id of our account, which is made if it is missing. Errors: `LabelStudioError`."""
    found = find_own_account(client)
    if found is not None:
        return found
    try:
        with told("making labelpilot's own account"):
            client.users.create(
                username="labelpilot",
                email=OWN_EMAIL,
                first_name="labelpilot",
                last_name="(automatic)",
                password=secrets.token_urlsafe(32),
            )
    except LabelStudioRefused:
        # Somebody else made it at the same moment, or this token may not.
        if (found := find_own_account(client)) is None:
            raise
        return found
    if (found := find_own_account(client)) is None:
        raise LabelStudioError(
            "Label Studio made an account for labelpilot and does not list it",
            advice="see whether the token's user may list the users of the organization",
        )
    return found
