"""The fields of the architecture: the section `model_spec` of a run file, described as all fields are."""

from typing import Annotated

from sequifier_hpo.config.description import (
    GROWING,
    NO_MEMORY,
    NOTHING,
    WEIGHTS,
    Candidates,
    Setting,
)
from sequifier_hpo.config.fields import (
    ActivationFn,
    AttentionType,
    Normalization,
    PositionalEncoding,
    PositiveFloat,
    PositiveInt,
)
from sequifier_hpo.config.schema import FileModel

_BACKBONE = "model_backbone"
"""The linked group, and the parameter that it becomes."""


class ModelSpec(FileModel):
    """Architecture of the transformer."""

    initial_embedding_dim: Annotated[
        PositiveInt,
        WEIGHTS,
        GROWING,
        Candidates(
            "List of feature embedding widths, one per `dim_model`; equal to it unless a joint layer "
            "is used.",
            group=_BACKBONE,
            position=2,
        ),
    ]
    """Width of all feature embeddings together."""
    feature_embedding_dims: Annotated[
        dict[str, PositiveInt] | None,
        WEIGHTS,
        GROWING,
        Candidates(
            "List of maps from input column to embedding width, one per `dim_model`; null = shared "
            "out.",
            default=None,
            group=_BACKBONE,
            position=4,
        ),
    ] = None
    """Embedding width per input column, in the order of `input_columns`; null = shared out."""
    joint_embedding_dim: Annotated[
        PositiveInt | None,
        WEIGHTS,
        GROWING,
        Candidates(
            "List of joint layer widths, one per `dim_model`: null (no layer) or equal to it.",
            default=None,
            group=_BACKBONE,
            position=3,
        ),
    ] = None
    """Width of a linear layer after the embeddings; null = no such layer."""
    dim_model: Annotated[
        PositiveInt,
        WEIGHTS,
        GROWING,
        Candidates(
            "List of widths of the residual stream; anchor of the model backbone.",
            group=_BACKBONE,
            position=0,
        ),
    ]
    """Width of the residual stream."""
    n_head: Annotated[
        PositiveInt,
        WEIGHTS,
        GROWING,
        Candidates(
            "List of attention head counts, one per `dim_model`, each dividing it.",
            group=_BACKBONE,
            position=1,
        ),
    ]
    """Number of attention heads."""
    dim_feedforward: Annotated[
        PositiveInt,
        WEIGHTS,
        GROWING,
        Candidates("List of inner widths of the feed-forward layers."),
    ]
    """Inner width of the feed-forward layers."""
    num_layers: Annotated[
        PositiveInt, WEIGHTS, GROWING, Candidates("List of transformer block counts.")
    ]
    """Number of transformer blocks."""
    activation_fn: Annotated[
        ActivationFn, WEIGHTS, Candidates("List of activations: swiglu, gelu, relu.")
    ] = "swiglu"
    """Activation of the feed-forward layers: swiglu, gelu or relu."""
    normalization: Annotated[
        Normalization, WEIGHTS, Candidates("List of norms: rmsnorm, layer_norm.")
    ] = "rmsnorm"
    """Kind of norm: rmsnorm or layer_norm."""
    positional_encoding: Annotated[
        PositionalEncoding, WEIGHTS, Candidates("List of position encodings: learned, rope.")
    ] = "learned"
    """Position information: learned tables or rope."""
    attention_type: Annotated[
        AttentionType, WEIGHTS, Candidates("List of attention types: mha, mqa, gqa.")
    ] = "mha"
    """Sharing of key/value heads: mha, mqa or gqa."""
    norm_first: Annotated[
        bool,
        WEIGHTS,
        Candidates("List of norm placements: true = pre-norm, false = post-norm.", default=[True]),
    ] = True
    """Whether norms come before attention and feed-forward (pre-norm)."""
    n_kv_heads: Annotated[
        PositiveInt | None,
        WEIGHTS,
        Candidates("List of key/value head counts (for mqa and gqa); null for mha."),
    ] = None
    """Number of key/value heads; null = as many as `n_head`."""
    rope_theta: Annotated[
        PositiveFloat,
        WEIGHTS,
        NO_MEMORY,
        Candidates("List of bases of the rotary angles.", default=[10000.0]),
    ] = 10000.0
    """Base of the rotary angles."""
    prediction_length: Annotated[
        PositiveInt,
        NOTHING,
        NO_MEMORY,
        Setting(
            "Number of last positions that exported models return (one value, not a list).",
            default=1,
        ),
    ]
    """Number of last positions that the exported model returns."""

    @property
    def head_size(self) -> int:
        """Width of an attention head."""
        return self.dim_model // self.n_head
