"""A Flow's state as JSON that comes back as it was, or not at all."""

from __future__ import annotations

from typing import Any, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from botwire import InvalidValue
from botwire.stores import encode_value

State = dict[str, Any]

_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def state_to_json(state: State | BaseModel) -> State:
    """The members of a state, from which ``load_state`` gives back the same.

    A dict must hold nothing but JSON. A model may hold whatever its own fields read back from JSON: dates, enums, sets, models.

    Raises:
        InvalidValue: if something would not come back equal; names the path to it.
    """
    if isinstance(state, BaseModel):
        return _model_to_json(state)
    if not isinstance(cast("Any", state), dict):
        raise InvalidValue(f"a Flow's state must be a dict or a pydantic model, not {type(state).__name__}")
    encode_value(state, "state")
    return state


def dump_to_json(state: State | BaseModel) -> State:
    """The members of a state that CrewAI hands over as ``model_dump()`` left them, in which a model's dates and enums are objects.

    Which model it was is not known here, and the model reads them back from their JSON as from the objects.

    Raises:
        InvalidValue: if something has no JSON form; names the path to it.
    """
    if isinstance(state, BaseModel):
        return _model_to_json(state)
    found = cast("State", _jsonable(state))
    encode_value(found, "state")
    return found


def _model_to_json(model: BaseModel) -> State:
    given = model.model_dump(warnings=False)  # a dict in place of a model, as CrewAI's own append_message leaves it, is read back as one
    try:
        found = model.model_dump(mode="json", warnings=False)
        encode_value(found, "state")
    except ValueError as error:
        if isinstance(error, InvalidValue):
            raise
        _jsonable(given)  # names the path
        raise InvalidValue(f"this {type(model).__name__} cannot be stored: {error}") from error
    try:
        again = type(model).model_validate(found)
    except ValidationError as error:
        raise InvalidValue(f"this {type(model).__name__} could not be restored from what is stored: {error}") from error
    if path := _difference(given, again.model_dump(), "state"):
        where, value = path
        raise InvalidValue(
            f"{where}: a {type(value).__name__} would come back as something else;"
            " declare the field with its type, keep it in a form that JSON has, or exclude it from the model's dump"
        )
    return again.model_dump(mode="json")


def _jsonable(value: Any, where: str = "state") -> Any:
    """The JSON form of a value, member by member, so that what has none is named by its path."""
    if isinstance(value, dict):
        return {_key(key): _jsonable(member, f"{where}[{key!r}]") for key, member in cast("State", value).items()}
    if isinstance(value, list):
        return [_jsonable(member, f"{where}[{index}]") for index, member in enumerate(cast("list[Any]", value))]
    try:
        return _ANYTHING.dump_python(value, mode="json")
    except ValueError as error:
        raise InvalidValue(f"{where}: a {type(value).__name__} has no JSON form; store what it is made of") from error


def _key(key: Any) -> str:
    """As a model's field of type ``dict[int, ...]`` writes its keys and reads them back."""
    return key if isinstance(key, str) else next(iter(_ANYTHING.dump_python({key: None}, mode="json")))


def _difference(one: Any, other: Any, where: str) -> tuple[str, Any] | None:
    """Where the second dump of a model lacks or changes something of the first one, and what that is."""
    if type(one) is not type(other):
        return where, one
    if isinstance(one, dict):
        ours, theirs = cast("State", one), cast("State", other)
        if not ours.keys() <= theirs.keys():
            return where, ours
        parts = [(value, theirs[key], f"{where}[{key!r}]") for key, value in ours.items()]
    elif isinstance(one, (list, tuple)):
        pair = cast("list[Any]", one), cast("list[Any]", other)
        if len(pair[0]) != len(pair[1]):
            return where, pair[0]
        parts = [(*values, f"{where}[{index}]") for index, values in enumerate(zip(*pair, strict=True))]
    else:
        unequal = type(one).__eq__ is not object.__eq__ and not one == other  # noqa: SIM201 - what an __eq__ says is what counts
        return (where, one) if unequal else None
    return next((found for part in parts if (found := _difference(*part))), None)
