"""Arguments of a wrong type are errors before anything is looked up or written."""

from collections.abc import Callable
from typing import Any

import pytest

from localstore import JsonStorage, Run, Step
from tests.unit.raw import Storage, answered, run_ids

WRONG: Any = 5


@pytest.mark.parametrize(
    "call",
    [
        lambda storage: storage.append("s1", answered("r2"), user_id=WRONG),
        lambda storage: storage.add_step("s1", "r1", Step(name="a"), number=0, user_id=WRONG),
        lambda storage: storage.update("s1", name="n", user_id=WRONG),
        lambda storage: storage.rate("s1", "r1", "good", user_id=WRONG),
        lambda storage: storage.delete_session("s1", user_id=WRONG),
        lambda storage: storage.read("s1", user_id=WRONG),
        lambda storage: storage.list_sessions(user_id=WRONG),
        lambda storage: storage.get_recent_sessions(user_id=WRONG),
        lambda storage: storage.examples(user_id=WRONG),
        lambda storage: storage.fork("s1", user_id=WRONG),
        lambda storage: storage.undo("s1", user_id=WRONG),
    ],
)
def test_a_user_id_that_is_not_text_is_an_error(storage: Storage, call: Callable[[Any], object]) -> None:
    """`read("s1", user_id=5)` returned None, as if the session of user "5" did not exist."""
    storage.append("s1", answered("r1"), user_id="5")
    with pytest.raises(TypeError, match=r"user_id must be text or None, not int: 5\. Use str"):
        call(storage)
    assert run_ids(storage.path("s1")) == ["r1"]


def test_other_arguments_of_a_wrong_type(storage: Storage) -> None:
    for option in ("create", "strict_state"):
        with pytest.raises(TypeError, match=f"{option} must be True or False, not 5"):
            storage.append("s1", Run(), **{option: WRONG})
    with pytest.raises(TypeError, match="entity_id must be text"):
        storage.list_sessions(entity_id=WRONG)
    with pytest.raises(ValueError, match=r"kind must be one of .* not 'agnet'\. Did you mean 'agent'\?"):
        storage.list_sessions(kind="agnet")
    with pytest.raises(TypeError, match="create must be True or False, not 'no'"):
        JsonStorage(storage.root, create="no")  # type: ignore[arg-type]
    assert storage.list_sessions() == []
