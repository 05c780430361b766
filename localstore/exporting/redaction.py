"""Replace the secrets in a session before it is exported."""

from localstore.format.redaction import SECRETS, Redactor
from localstore.format.values import to_json_value
from localstore.models.session import Session


def without_secrets(session: Session) -> Session:
    """Return a copy of the session in which secrets are replaced by marks such as `[redacted email]`, also in ids.

    The secrets are those that `Storage.redact` finds with `secrets=True`. The session itself does not change. `upsert`
    treats the copy as a session that was not read from a storage.
    """
    redactor = Redactor(SECRETS, ids=True)
    entries = [redactor.entry(to_json_value(entry), "") for entry in session.history]
    current = {name: redactor.value(to_json_value(value), "") for name, value in session.current().items()}
    return Session.model_validate({**redactor.record("header", to_json_value(session)), "history": entries, **current})
