"""LangChain's ChatOpenAI, unmodified but for its base URL: LangChain's standard tests, and objects by schema with both methods.

ROUTER_URL is the router's, MODELS names the models, separated by commas.
"""

import os
import re
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from openai import BadRequestError
from pydantic import BaseModel, Field

URL = os.environ["ROUTER_URL"]
MODELS = os.environ["MODELS"].split(",")
METHODS = ["function_calling", "json_schema"]
# They hold their calls to no schema.
NO_STRICT_TOOLS = {"claude-sonnet-4-20250514"}


def chat(model: str, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=f"{URL}/v1", api_key="sk-of-the-client", max_retries=0, **more)


class StandardTests(ChatModelIntegrationTests):
    """Run for each model and method; this class itself is not collected."""

    __test__ = False
    model_name = ""
    method = ""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": self.model_name,
            "base_url": f"{URL}/v1",
            "api_key": "sk-of-the-client",
            "max_retries": 0,
            "stream_usage": True,
        }

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": self.method}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return self.model_name


for model in MODELS:
    for method in METHODS:
        slug = re.sub(r"\W", "_", model)
        name = f"Test_{slug}_{method}"
        globals()[name] = type(name, (StandardTests,), {"__test__": True, "model_name": model, "method": method})


class Address(BaseModel):
    """Where someone lives."""

    street: str
    number: int | None = Field(default=None, ge=0, le=9999)


class Person(BaseModel):
    """A person."""

    name: str = Field(min_length=1)
    age: int
    home: Address
    others: list[Address]


PERSON = Person(
    name="Ann",
    age=41,
    home=Address(street="Ann", number=41),
    others=[Address(street="Ann", number=41)],
)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize("model", MODELS)
def test_nested_objects_by_schema(model: str, strict: bool | None, method: str) -> None:
    asked = chat(model).with_structured_output(Person, method=method, strict=strict)
    if model in NO_STRICT_TOOLS and strict and method == "function_calling":
        with pytest.raises(BadRequestError, match=r"tools\[0\]\.function\.strict"):
            asked.invoke("A person named 'Ann' of 41.")
        return
    assert asked.invoke("A person named 'Ann' of 41.") == PERSON
    assert list(asked.stream("A person named 'Ann' of 41."))[-1] == PERSON


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_objects_by_schema_of_models_that_think(model: str, method: str) -> None:
    asked = chat(model, reasoning_effort="low").with_structured_output(Person, method=method)
    assert asked.invoke("A person named 'Ann' of 41.") == PERSON
    assert list(asked.stream("A person named 'Ann' of 41."))[-1] == PERSON


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"Grey in {city}."


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_loop_of_tools_of_models_that_think(model: str, streams: bool) -> None:
    """What they thought is signed and must come back, though LangChain keeps none of it."""
    asked = chat(model, reasoning_effort="low").bind_tools([weather])
    said: list[BaseMessage] = []
    for city in ["Bern", "Rome"]:
        said.append(HumanMessage(f"The weather of '{city}'?"))
        for _ in range(2):
            answer = reduce(add, asked.stream(said)) if streams else asked.invoke(said)
            said.append(answer)
            said += [weather.invoke(call) for call in answer.tool_calls]
        assert [message.text for message in said if message.type == "tool"][-1] == f"Grey in {city}."
        assert said[-1].text and not said[-1].tool_calls


@pytest.mark.parametrize("model", MODELS)
def test_named_messages(model: str) -> None:
    said = [
        SystemMessage("Be brief.", name="the_boss"),
        HumanMessage("Hello", name="ann"),
        HumanMessage("Hello from me, too", name="bo"),
        AIMessage("Hello.", name="the_bot"),
        HumanMessage([{"type": "text", "text": "Who am I?"}], name="ann"),
    ]
    answer = chat(model).invoke(said)
    assert answer.text
    assert "".join(chunk.text for chunk in chat(model).stream(said)) == answer.text


@pytest.mark.parametrize("model", MODELS)
def test_service_tier(model: str) -> None:
    assert chat(model).invoke("Hello").response_metadata["service_tier"] == "default"
    tiers = [chunk.response_metadata.get("service_tier") for chunk in chat(model).stream("Hello")]
    assert [tier for tier in tiers if tier] == ["default"]


@pytest.mark.parametrize("model", MODELS)
def test_system_messages_anywhere(model: str) -> None:
    said = [
        SystemMessage("Be brief."),
        HumanMessage("Hello"),
        AIMessage("Hello."),
        SystemMessage("Be kind."),
        HumanMessage("Who am I?"),
        SystemMessage("Now."),
    ]
    assert chat(model).invoke(said).text
