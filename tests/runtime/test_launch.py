"""What is shown once the service is ready."""

import json
import shlex

import pytest

from serve_app.http.schemas import RequestSchema
from serve_app.model.card import ModelCard
from serve_app.runtime.launch import addresses


@pytest.mark.parametrize("name", ["sepal_length", "rose's petal $HOME"])
def test_the_printed_command_is_a_valid_request(card: ModelCard, name: str) -> None:
    """A shell makes of the curl line a body that the service accepts, for any column name."""
    text = card.model_dump_json().replace('"sepal_length"', json.dumps(name))
    card = ModelCard.model_validate_json(text)
    printed = addresses(card, 8123, None)
    (line,) = [line for line in printed.splitlines() if "curl" in line]
    command = shlex.split(line)
    assert command[1] == "http://localhost:8123/predict/"
    assert "content-type: application/json" in command
    body = command[command.index("-d") + 1].encode()
    assert RequestSchema(card, max_rows=1).instance(body).shape == (1, 4)
    assert json.loads(body) == card.example
    assert "http://localhost:8123/docs" in printed
    assert "dashboard" not in printed


def test_the_dashboard_is_shown_if_there_is_one(card: ModelCard) -> None:
    """Its address, and where the token is that it asks for."""
    printed = addresses(card, 8000, "http://127.0.0.1:8265")
    assert "http://127.0.0.1:8265" in printed
    assert "token" in printed
