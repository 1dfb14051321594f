"""V1, KServe's first protocol, which is that of TensorFlow Serving.

Source: "V1 Protocol" of KServe's documents, and kserve/protocol/rest/v1_endpoints.py.
"""

from collections.abc import Mapping

from serve_app.model.answers import object_schema
from serve_app.protocols.answers import Answer, json_answer
from serve_app.protocols.described import Description, get, post
from serve_app.protocols.instances import INSTANCES, Instances, parse
from serve_app.protocols.protocol import Describe, OneLineErrors, Predict
from serve_app.protocols.use_case import UseCase
from serve_app.telemetry.plain_spans import PlainContext

NAME = "v1"
ROWS = (INSTANCES, "inputs")
"""KServe's scikit-learn server takes both."""


class Translator(OneLineErrors):
    """Rows as arrays or objects; see `serve_app.protocols.protocol.HttpProtocol`."""

    prefix = "/v1/models"
    takes_any_type = False

    def __init__(self, use_case: UseCase) -> None:
        self._use_case = use_case
        self._instances = Instances(use_case, NAME)
        self._name = use_case.card.name
        model = f"{self.prefix}/{self._name}"
        self.predictions: Mapping[str, Predict] = {f"{model}:predict": self._predict}
        self.documents: Mapping[str, Describe] = {
            self.prefix: lambda: json_answer({"models": [self._name]}),
            model: lambda: json_answer({"name": self._name, "ready": True}),
        }

    def describe(self) -> Description:
        """See `HttpProtocol.describe`."""
        model = f"{self.prefix}/{self._name}"
        string = {"type": "string"}
        ready = object_schema({"name": string, "ready": {"type": "boolean"}})
        models = object_schema({"models": {"type": "array", "items": string}})
        return Description(
            {
                self.prefix: get("v1_models", "The model, V1", models),
                model: get("v1_model", "Whether the model is ready, V1", ready),
                f"{model}:predict": post(
                    "v1_predict", "Predict rows, V1", *self._instances.describe(output=False)
                ),
            }
        )

    def unknown(self, path: str) -> str | None:
        """Names the model that is served."""
        known = ", ".join([*self.documents, *self.predictions])
        return f"No such model or path: {path[:100]!r}; known: {known}"

    async def _predict(
        self, body: bytes, parent: PlainContext | None, _head: bytes | None
    ) -> Answer:
        await self._use_case.turn(len(body))
        parsed = parse(body, rows=ROWS)
        (key,) = parsed
        return await self._instances.answer(body, parsed, key, parent)
