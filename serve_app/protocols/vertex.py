"""Vertex AI's contract with custom containers.

Its routes are the settings' ``vertex_predict_route`` and ``vertex_health_route``, which the image
takes from ``AIP_PREDICT_ROUTE`` and ``AIP_HEALTH_ROUTE``; without them it has no paths. Source:
"Custom container requirements for inference" of Vertex AI's documents.
"""

from collections.abc import Mapping

from serve_app.model.answers import object_schema
from serve_app.protocols.answers import Answer, json_answer
from serve_app.protocols.described import Description, get, post
from serve_app.protocols.instances import INSTANCES, OUTPUT, PARAMETERS, Instances, parse
from serve_app.protocols.protocol import Describe, OneLineErrors, Predict, ProtocolError
from serve_app.protocols.results import PREDICT
from serve_app.protocols.tensors import TensorError
from serve_app.protocols.use_case import UseCase
from serve_app.telemetry.plain_spans import PlainContext

NAME = "vertex"


class Translator(OneLineErrors):
    """Instances and predictions; see `serve_app.protocols.protocol.HttpProtocol`.

    Raises:
        ProtocolError: both routes are the same.
    """

    takes_any_type = False

    def __init__(self, use_case: UseCase) -> None:
        self._use_case = use_case
        self._instances = Instances(use_case, NAME)
        settings = use_case.settings
        predict, health = settings.vertex_predict_route, settings.vertex_health_route
        if predict is not None and predict == health:
            raise ProtocolError(f"vertex_predict_route={predict!r} is vertex_health_route, too")
        self.prefix = predict or "/vertex"
        self.predictions: Mapping[str, Predict] = (
            {} if predict is None else {predict: self._predict}
        )
        healthy = json_answer({"status": "healthy"})
        self.documents: Mapping[str, Describe] = {health: lambda: healthy} if health else {}

    def describe(self) -> Description:
        """See `HttpProtocol.describe`."""
        healthy = object_schema({"status": {"const": "healthy"}})
        paths = {
            path: get("vertex_health", "Health, Vertex AI", healthy) for path in self.documents
        }
        for path in self.predictions:
            content = self._instances.describe(output=True)
            paths[path] = post("vertex_predict", "Predict rows, Vertex AI", *content)
        return Description(paths)

    def unknown(self, path: str) -> str | None:
        """Where the routes come from, if there are none."""
        if self.predictions:
            return None
        return (
            f"No such path: {path[:100]!r}; Vertex AI's routes are those of AIP_PREDICT_ROUTE and "
            "AIP_HEALTH_ROUTE, which are not set"
        )

    async def _predict(
        self, body: bytes, parent: PlainContext | None, _head: bytes | None
    ) -> Answer:
        await self._use_case.turn(len(body))
        parsed = parse(body, rows=(INSTANCES,), others=(PARAMETERS,))
        output = _output(parsed.get(PARAMETERS))
        return await self._instances.answer(body, parsed, INSTANCES, parent, output)


def _output(parameters: object) -> str:
    if parameters in (None, {}):
        return PREDICT
    if not isinstance(parameters, dict) or set(parameters) != {OUTPUT}:
        message = f'should be an object with one key: {{"{OUTPUT}": "{PREDICT}"}}'
        raise TensorError(PARAMETERS, message, parameters)
    output = parameters[OUTPUT]
    if not isinstance(output, str):
        raise TensorError(f"{PARAMETERS}.{OUTPUT}", "should be the name of an output", output)
    return output
