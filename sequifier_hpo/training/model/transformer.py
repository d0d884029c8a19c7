"""The whole network: embedding of the columns, transformer blocks, one head per target.

Axes: B batch, T positions (oldest item first), P last positions that inference returns, D model
width, n classes of a target (1 for a real one). Outputs are sequence-first, as in Sequifier.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sequifier_hpo.config.fields import LayerType
from sequifier_hpo.config.train import ModelSpec, TrainConfig
from sequifier_hpo.config.widths import allocate_widths
from sequifier_hpo.training.model.attention import CausalSelfAttention
from sequifier_hpo.training.model.layers import (
    Dropout,
    DropoutMasks,
    Linear,
    make_feed_forward,
    make_norm,
)

_INITIAL_STD = 0.02


class Block(nn.Module):
    """Attention and feed-forward around the residual stream, norms before or after.

    Source: Xiong et al. 2020, arXiv:2002.04745, section 3.
    """

    def __init__(self, spec: ModelSpec, num_positions: int, dropout: float) -> None:
        super().__init__()
        self.norm_first = spec.norm_first
        self.norm1 = make_norm(spec.normalization, spec.dim_model)
        self.norm2 = make_norm(spec.normalization, spec.dim_model)
        self.attn = CausalSelfAttention(spec, num_positions, dropout)
        self.ff = make_feed_forward(
            spec.activation_fn, spec.dim_model, spec.dim_feedforward, dropout
        )
        self.dropout = Dropout(dropout)

    def forward(self, x_BTD: Tensor, mask_TT: Tensor) -> Tensor:
        """One step of the residual stream."""
        x: Tensor = x_BTD
        if self.norm_first:
            x = x + self.dropout(self.attn(self.norm1(x), mask_TT))
            x = x + self.dropout(self.ff(self.norm2(x)))
        else:
            x = self.norm1(x + self.dropout(self.attn(x, mask_TT)))
            x = self.norm2(x + self.dropout(self.ff(x)))
        return x


class SequenceTransformer(nn.Module):
    """Predicts the next item at every position of a window.

    Names, shapes and order of its parameters are those of Sequifier's files. Layers are created in
    Sequifier's order too: after equal seeding the initial weights are equal, bit for bit.
    """

    causal_mask: Tensor

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        spec, dropout = config.model_spec, config.training_spec.dropout
        self._categorical = config.categorical_columns
        self._real = config.real_columns
        self._target_types = config.target_column_types
        self._prediction_length = spec.prediction_length
        self._embedding_scale = math.sqrt(spec.initial_embedding_dim)

        # The order of construction draws the random numbers, the order of assignment names the
        # parameters: the joint layer is created first and stands third.
        joint = None
        if spec.joint_embedding_dim is not None:
            joint = Linear(spec.initial_embedding_dim, spec.joint_embedding_dim)
        widths = _widths(config)
        self.encoder = _make_encoder(config, widths)
        position_tables = _make_position_tables(config, widths)
        self.joint_embedding_layer = joint
        self.pos_encoder = position_tables
        self.layers = nn.ModuleList(
            Block(spec, config.seq_length, dropout) for _ in range(spec.num_layers)
        )
        self.final_norm = make_norm(spec.normalization, spec.dim_model) if spec.norm_first else None
        self.decoder = nn.ModuleDict(
            {
                target: Linear(spec.dim_model, config.n_classes[target] if is_ids else 1)
                for target, is_ids in _is_categorical(config).items()
            }
        )
        self.dropout = Dropout(dropout)
        mask = torch.full((config.seq_length, config.seq_length), -math.inf).triu(1)
        self.register_buffer("causal_mask", mask, persistent=False)
        self.masks = DropoutMasks(dropout)
        for module in self.modules():
            if isinstance(module, Dropout):
                module.masks = self.masks
        self._refill(config)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Score every position, for training.

        Args:
            inputs: Per input column (B, T), ids as integers and reals as floats; others are ignored.

        Returns:
            Per target raw outputs in float32, (T, B, n): logits, or the standardised value.
        """
        return self._heads(self._encode(inputs))

    def predict(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Predict the last P positions: log-probabilities (P, B, n), or values (P, B, 1)."""
        outputs = self._heads(self._encode(inputs)[:, -self._prediction_length :])
        return {
            target: y.log_softmax(-1) if self._target_types[target] == "categorical" else y
            for target, y in outputs.items()
        }

    def embedding(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The state before the heads at the last P positions, (P, B, D)."""
        return self._encode(inputs)[:, -self._prediction_length :].transpose(0, 1)

    def cast_layers(self, dtypes: Mapping[LayerType, torch.dtype]) -> None:
        """Change the number type per kind of layer; heads follow `linear` if they have no entry."""
        decoder_dtype = dtypes.get("decoder", dtypes.get("linear"))
        for name, module in self.named_modules():
            if isinstance(module, nn.Embedding):
                dtype = dtypes.get("embedding")
            elif name.startswith("decoder."):
                dtype = decoder_dtype
            elif isinstance(module, Linear):
                dtype = dtypes.get("linear")
            elif "norm" in name.rpartition(".")[2]:
                dtype = dtypes.get("norm")
            else:
                continue
            if dtype is not None:
                module.to(dtype)

    def _encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        x_BTD = self._embed(inputs)
        for layer in self.layers:
            x_BTD = layer(x_BTD, self.causal_mask)
        return x_BTD if self.final_norm is None else self.final_norm(x_BTD)

    def _embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Embed each column, put them side by side: (B, T, D)."""
        parts = []
        for column in self._categorical:
            parts.append(self._placed(column, self.encoder[column](inputs[column])))
        for column in self._real:
            value = inputs[column].unsqueeze(-1)
            if column in self.encoder:
                value = self.encoder[column](value)
            else:
                value = value.to(self._linear_dtype)
            parts.append(self._placed(column, value))
        x = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return x if self.joint_embedding_layer is None else self.joint_embedding_layer(x)

    def _placed(self, column: str, value: Tensor) -> Tensor:
        """Scale one column's embedding and add its own position table, if it has one."""
        value = value * self._embedding_scale
        if column in self.pos_encoder:
            table = self.pos_encoder[column]
            assert isinstance(table, nn.Embedding)
            value = value + table.weight
        y: Tensor = self.dropout(value)
        return y

    def _heads(self, x_BTD: Tensor) -> dict[str, Tensor]:
        return {
            target: self.decoder[target](x_BTD).float().transpose(0, 1)
            for target in self._target_types
        }

    @property
    def _linear_dtype(self) -> torch.dtype:
        first = self.layers[0]
        assert isinstance(first, Block)
        return first.attn.wq.weight.dtype

    @torch.no_grad()
    def _refill(self, config: TrainConfig) -> None:
        """Redraw tables, heads and joint layer from their own distribution, in Sequifier's order."""
        for column in config.categorical_columns:
            _draw(self.encoder[column])
        for target in config.target_columns:
            _draw(self.decoder[target])
        for table in self.pos_encoder.values():
            _draw(table)
        if self.joint_embedding_layer is not None:
            _draw(self.joint_embedding_layer)


def _widths(config: TrainConfig) -> dict[str, int]:
    """Embedding width per input column."""
    spec = config.model_spec
    if spec.feature_embedding_dims is not None:
        return spec.feature_embedding_dims
    widths = allocate_widths(
        spec.initial_embedding_dim, config.categorical_columns, config.real_columns
    )
    assert widths is not None, "the config's checks let too small a width through"
    return widths


def _is_categorical(config: TrainConfig) -> dict[str, bool]:
    return {target: kind == "categorical" for target, kind in config.target_column_types.items()}


def _categorical_in_parameter_order(config: TrainConfig) -> list[str]:
    inputs = set(config.categorical_columns)
    return [column for column in config.n_classes if column in inputs]


def _make_encoder(config: TrainConfig, widths: Mapping[str, int]) -> nn.ModuleDict:
    """Tables of ids, and layers of reals wider than 1; a real of width 1 stays as it is."""
    encoder: dict[str, nn.Module] = {
        column: Linear(1, widths[column]) for column in config.real_columns if widths[column] > 1
    }
    for column in _categorical_in_parameter_order(config):
        encoder[column] = nn.Embedding(config.n_classes[column], widths[column])
    return nn.ModuleDict(encoder)


def _make_position_tables(config: TrainConfig, widths: Mapping[str, int]) -> nn.ModuleDict:
    """One table per input column under `learned`, none under `rope`."""
    if config.model_spec.positional_encoding == "rope":
        return nn.ModuleDict()
    columns = [*config.real_columns, *_categorical_in_parameter_order(config)]
    return nn.ModuleDict({c: nn.Embedding(config.seq_length, widths[c]) for c in columns})


def _draw(module: nn.Module) -> None:
    """Fill a weight from normal(0, 0.02) and a bias with zeros."""
    for name, parameter in module.named_parameters():
        if name == "weight":
            nn.init.normal_(parameter, 0.0, _INITIAL_STD)
        else:
            nn.init.zeros_(parameter)
