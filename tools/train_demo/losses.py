"""What the model is taught: areas at full depth, by the lens and by the SPADE pass; and text."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import Climb, Llama
from packing import IGNORE, Batch

FIRST_EXIT = 3
PROBE_LAYERS = (2, 3, 4)


class Probes(nn.Module):
    """Read a message's area and number from its last token in lower layers. Not exported.

    They give every message a gradient of its own close to where it should be understood; without
    them areas are worked out in the upper layers, where early exits cannot see them.
    """

    def __init__(self, hidden: int, areas: int, numbers: int):
        super().__init__()
        self.areas = nn.ModuleList(nn.Linear(hidden, areas) for _ in PROBE_LAYERS)
        self.numbers = nn.ModuleList(nn.Linear(hidden, numbers) for _ in PROBE_LAYERS)

    def loss(self, climb: Climb, batch: Batch) -> Tensor:
        rows = (batch.messages.flatten() != IGNORE).nonzero()[:, 0]
        areas, numbers = batch.messages.flatten()[rows], batch.numbers.flatten()[rows]
        total = climb.states[0].new_zeros(())
        for layer, area, number in zip(PROBE_LAYERS, self.areas, self.numbers):
            x = F.rms_norm(climb.states[layer].flatten(0, 1)[rows], (area.in_features,))
            total = total + F.cross_entropy(area(x).float(), areas)
            total = total + 0.3 * F.cross_entropy(number(x).float(), numbers)
        return total / len(PROBE_LAYERS)


@dataclass(frozen=True)
class Weights:
    full: float = 1.0
    spade: float = 1.0
    lens: float = 0.4
    frame: float = 0.3
    probe: float = 0.3
    text: float = 0.5
    teacher: float = 0.5  # share of the full depth's own distribution in early targets


def early_loss(logits: Tensor, areas: Tensor, teacher: Tensor, share: float) -> Tensor:
    """Cross entropy among the labels with the answer and with what full depth says."""
    goal = (1 - share) * F.one_hot(areas, logits.shape[-1]) + share * teacher
    return F.cross_entropy(logits.float(), goal)


def answer_losses(model: Llama, climb: Climb, batch: Batch, labels: list[int], weights: Weights,
                  generator: torch.Generator) -> dict[str, Tensor]:
    rows = (batch.answers.flatten() != IGNORE).nonzero()[:, 0]
    areas, positions = batch.answers.flatten()[rows], batch.positions.flatten()[rows]
    last = model.logits(climb.states[-1].flatten(0, 1)[rows])
    losses = {"full": F.cross_entropy(last.float(), batch.targets.flatten()[rows])}
    teacher = last.detach()[:, labels].float().softmax(-1)

    # Each answer leaves at one layer by the SPADE pass, and is read by the lens at another.
    depth = model.config.num_hidden_layers
    exits = torch.randint(FIRST_EXIT, depth, rows.shape, generator=generator)
    order = exits.argsort(stable=True)
    ends = model.spade(climb, rows[order], exits[order], positions[order])
    losses["spade"] = early_loss(model.logits(ends, labels), areas[order], teacher[order],
                                 weights.teacher)
    seen = torch.randint(FIRST_EXIT, depth, rows.shape, generator=generator)
    stack = torch.stack([climb.states[layer].flatten(0, 1)[rows] for layer in
                         range(FIRST_EXIT, depth)])
    read = stack[seen - FIRST_EXIT, torch.arange(len(rows))]
    losses["lens"] = early_loss(model.logits(read, labels), areas, teacher, weights.teacher)
    return losses


def token_losses(model: Llama, climb: Climb, batch: Batch) -> dict[str, Tensor]:
    """Next tokens other than answers: of plain text, and of an inbox's questions (frames)."""
    learned = (batch.targets != IGNORE) & (batch.answers == IGNORE)
    is_text = (batch.targets != IGNORE).all(dim=1, keepdim=True).expand_as(learned)
    losses = {}
    for name, where in (("text", learned & is_text), ("frame", learned & ~is_text)):
        rows = where.flatten().nonzero()[:, 0]
        logits = model.logits(climb.states[-1].flatten(0, 1)[rows])
        # A small batch may have no such row.
        total = F.cross_entropy(logits.float(), batch.targets.flatten()[rows], reduction="sum")
        losses[name] = total / max(1, len(rows))
    return losses
