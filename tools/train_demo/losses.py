"""What the model is taught: answers at full depth, by the lens and by the SPADE pass; and text."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import Climb, Llama
from packing import IGNORE, Batch

FIRST_EXIT = 3


class Probes(nn.Module):
    """Linear readings of lower layers where something is known. Not exported.

    A message's area, intent and number are read from its last token, in layers close to where it should be
    understood: without that areas are worked out in the upper layers, where early exits cannot see
    them. The areas of the two messages that `same` compares are read from their numbers in the question,
    a little higher, for the comparison to have something to compare.
    """

    LAYERS = {"areas": (2, 3, 4), "intents": (2, 3, 4), "numbers": (2, 3, 4), "named": (6, 8)}
    SHARES = {"areas": 1.0, "intents": 0.5, "numbers": 0.3, "named": 1.0}

    def __init__(self, hidden: int, classes: dict[str, int]):
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.ModuleList(nn.Linear(hidden, count)
                                                        for _ in self.LAYERS[name])
                                    for name, count in classes.items()})

    def loss(self, climb: Climb, batch: Batch) -> Tensor:
        total = climb.states[0].new_zeros(())
        for name, heads in self.heads.items():
            goals = getattr(batch, name).flatten()
            rows = (goals != IGNORE).nonzero()[:, 0]
            for layer, head in zip(self.LAYERS[name], heads):
                x = climb.states[layer].flatten(0, 1)[rows]
                x = head(F.rms_norm(x, x.shape[-1:])).float()
                part = F.cross_entropy(x, goals[rows], reduction="sum") / max(1, len(rows))
                total = total + self.SHARES[name] / len(heads) * part
        return total


@dataclass(frozen=True)
class Weights:
    full: float = 1.0
    spade: float = 1.0
    lens: float = 0.4
    frame: float = 0.3
    probe: float = 0.3
    text: float = 0.5
    teacher: float = 0.5  # share of the full depth's own distribution in early targets


def among(logits: Tensor, allowed: Tensor) -> Tensor:
    """Logits of labels, those that are no answer to the question out of the running."""
    return logits.float().masked_fill(~allowed, -1e4)


def early_loss(logits: Tensor, answers: Tensor, teacher: Tensor, share: float) -> Tensor:
    """Cross entropy among the labels with the answer and with what full depth says."""
    goal = (1 - share) * F.one_hot(answers, logits.shape[-1]) + share * teacher
    return F.cross_entropy(logits, goal)


def answer_losses(model: Llama, climb: Climb, batch: Batch, labels: list[int], choices: Tensor,
                  weights: Weights, generator: torch.Generator) -> dict[str, Tensor]:
    """`labels`: token ids; `choices` (sets, labels): which of them each kind of question allows."""
    rows = (batch.answers.flatten() != IGNORE).nonzero()[:, 0]
    answers, positions = batch.answers.flatten()[rows], batch.positions.flatten()[rows]
    allowed = choices[batch.choices.flatten()[rows]]
    last = model.logits(climb.states[-1].flatten(0, 1)[rows])
    losses = {"full": F.cross_entropy(last.float(), batch.targets.flatten()[rows])}
    teacher = among(last.detach()[:, labels], allowed).softmax(-1)

    # Each answer leaves at one layer by the SPADE pass, and is read by the lens at another.
    depth = model.config.num_hidden_layers
    exits = torch.randint(FIRST_EXIT, depth, rows.shape, generator=generator)
    order = exits.argsort(stable=True)
    ends = model.spade(climb, rows[order], exits[order], positions[order])
    losses["spade"] = early_loss(among(model.logits(ends, labels), allowed[order]),
                                 answers[order], teacher[order], weights.teacher)
    seen = torch.randint(FIRST_EXIT, depth, rows.shape, generator=generator)
    stack = torch.stack([climb.states[layer].flatten(0, 1)[rows] for layer in
                         range(FIRST_EXIT, depth)])
    read = stack[seen - FIRST_EXIT, torch.arange(len(rows))]
    losses["lens"] = early_loss(among(model.logits(read, labels), allowed), answers, teacher,
                                weights.teacher)
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
