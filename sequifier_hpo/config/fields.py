"""Field types shared by the configuration models: what a number, a name or a path may be.

Numbers given as text (`"16"`, or `1e-3`, which YAML 1.1 reads as text) and integral floats
(`16.0`) are understood, as in Sequifier; booleans are never taken for numbers.
"""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from sequifier_hpo.config.paths import expanded

_DURATION = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?) ?{unit} ?)?" for unit in "dhms"))


def _not_a_bool(value: Any) -> Any:
    if isinstance(value, bool):
        shown = "true" if value else "false"
        raise PydanticCustomError("number_expected", "{shown} is not a number", {"shown": shown})
    return value


def _one_line_name(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("name", "the name is empty")
    if any(character in value for character in "/\\\0") or value in {".", ".."}:
        raise PydanticCustomError("name", "{value} holds a path separator", {"value": repr(value)})
    if any(ord(character) < 32 for character in value):
        raise PydanticCustomError(
            "name", "{value} holds a line break or control character", {"value": repr(value)}
        )
    if len(value.encode()) > 200:
        raise PydanticCustomError("name", "the name is longer than 200 bytes, too long for a file")
    return value


def _not_embedding(value: str) -> str:
    # Sequifier tells embedding models from generative ones by this word in the file name.
    if "embedding" in value:
        text = "{value} contains the word `embedding`, which marks embedding models in file names"
        raise PydanticCustomError("name", text, {"value": repr(value)})
    return value


def _not_blank(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise PydanticCustomError("path", "the path is empty")
    return value


def _unique(values: list[str]) -> list[str]:
    doubled = sorted({value for value in values if values.count(value) > 1})
    if doubled:
        text = "the same column is named twice: {doubled}"
        raise PydanticCustomError("columns_doubled", text, {"doubled": ", ".join(doubled)})
    return values


def _seconds_of(value: Any) -> Any:
    if isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())):
        parts = zip(found.groups(), (86400, 3600, 60, 1), strict=True)
        value = sum(float(number) * unit for number, unit in parts if number)
    seconds = numbers_from_text(_not_a_bool(value))
    if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        text = "{value} is no duration: write `8h`, `90m`, `1h30m`, or a number of seconds"
        raise PydanticCustomError("duration", text, {"value": repr(value)})
    return seconds


def numbers_from_text(value: Any) -> Any:
    """Read numbers that YAML 1.1 takes for text (`1e-5`), at any depth of a map."""
    if isinstance(value, dict):
        return {k: v if k == "name" else numbers_from_text(v) for k, v in value.items()}
    if isinstance(value, list):
        return [numbers_from_text(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+", value):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value):
        return float(value)
    return value


Int = Annotated[int, BeforeValidator(_not_a_bool)]
Float = Annotated[float, BeforeValidator(_not_a_bool), Field(allow_inf_nan=False)]
Duration = Annotated[Float, BeforeValidator(_seconds_of)]
"""In seconds, however it is written."""
_LARGEST = 2**31 - 1  # no size, count or length here is meaningful beyond it
PositiveInt = Annotated[Int, Field(ge=1, le=_LARGEST)]
NonNegativeInt = Annotated[Int, Field(ge=0, le=_LARGEST)]
PositiveFloat = Annotated[Float, Field(gt=0)]
Probability = Annotated[Float, Field(ge=0, le=1)]
Seed = Annotated[Int, Field(ge=0, le=2**32 - 1)]

Name = Annotated[str, AfterValidator(_one_line_name)]
ModelName = Annotated[Name, AfterValidator(_not_embedding)]
PathText = Annotated[str, AfterValidator(_not_blank), AfterValidator(expanded)]
Columns = Annotated[list[str], Field(min_length=1), AfterValidator(_unique)]

ReadFormat = Literal["csv", "parquet", "pt"]
ActivationFn = Literal["swiglu", "gelu", "relu"]
Normalization = Literal["rmsnorm", "layer_norm"]
PositionalEncoding = Literal["learned", "rope"]
AttentionType = Literal["mha", "mqa", "gqa"]
TargetType = Literal["categorical", "real"]
StepOn = Literal["epoch", "batch"]
LayerType = Literal["embedding", "linear", "norm", "decoder"]
TorchCompile = Literal["none", "auto", "outer", "inner"]
DtypeName = Literal["float32", "float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2"]

Recipe = Annotated[dict[str, Any], BeforeValidator(numbers_from_text)]
"""An optimizer or scheduler: `name`, and arguments of its constructor."""
