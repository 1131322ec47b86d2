"""The table (Markdown) and the plot (SVG) of a run."""

from __future__ import annotations

from statistics import median

from cases import Case

Rates = dict[str, dict[str, list[float]]]  # engine -> case -> rate in each round

COLORS = ["#1b6ac9", "#d9822b", "#5b8c3a", "#8a5cb8", "#7a7a7a"]


def medians(rates: Rates, case: Case) -> dict[str, float]:
    return {name: median(of[case.name]) for name, of in rates.items() if of.get(case.name)}


def ratio(rates: Rates, case: Case, ours: str) -> float:
    """Ours over the best peer's: the median of the rounds' ratios."""
    rounds = zip(*(of[case.name] for name, of in rates.items() if name != ours), strict=True)
    return median(
        mine / max(peers) for mine, peers in zip(rates[ours][case.name], rounds, strict=True)
    )


def markdown(rates: Rates, cases: list[Case], ours: str) -> str:
    names = list(rates)
    lines = [
        "| case | " + " | ".join(names) + " | ours / best peer |",
        "|---" * (len(names) + 2) + "|",
    ]
    for case in cases:
        found = medians(rates, case)
        cells = [f"{found[name]:.1f}" if name in found else "-" for name in names]
        cells.append(f"{ratio(rates, case, ours):.2f}x" if len(found) > 1 else "-")
        lines.append(f"| {case.name}, {case.unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def bar(x: float, y: float, width: float, color: str, label: str) -> str:
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.1f}" height="12" fill="{color}"/>'
        f'<text x="{x + width + 5:.0f}" y="{y + 10:.0f}">{label}</text>'
    )


def svg(rates: Rates, cases: list[Case], title: str) -> str:
    """Bars by case, each relative to the fastest engine of that case."""
    parts: list[str] = []
    y = 40.0
    for case in cases:
        found = medians(rates, case)
        parts.append(f'<text x="10" y="{y + 10:.0f}" font-weight="bold">{case.name}</text>')
        for color, name in zip(COLORS, rates, strict=False):
            if name in found:
                width = 420 * found[name] / max(found.values())
                parts.append(bar(110, y, width, color, f"{name} {found[name]:.1f} {case.unit}"))
                y += 15
        y += 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{y:.0f}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="10" y="22" font-size="14">{title}</text>{"".join(parts)}</svg>\n'
    )
