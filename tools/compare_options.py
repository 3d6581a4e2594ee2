"""A weighted comparison in a table: pure, needs nothing outside, registered with Letta as it stands."""

KIND = "pure"
POOLS = ("analysis", "planning")


def compare_options(scores: dict[str, dict[str, float]], weights: dict[str, float] | None = None) -> str:
    """Compare options by several criteria and get a Markdown table with the weighted mean, the best option first.

    Args:
        scores (dict): For each option a score for each criterion, higher is better, for example
            {"train": {"cost": 4, "time": 3}, "plane": {"cost": 2, "time": 5}}. Every option needs every criterion.
        weights (dict): How much each criterion counts, for example {"cost": 2, "time": 1}. Without it all count alike.

    Returns:
        str: The table, the best option, its lead, and whether any single criterion alone would change the choice.
    """
    if len(scores) < 2:
        raise ValueError("scores: give at least two options")
    criteria = list(dict.fromkeys(c for row in scores.values() for c in row))
    if not criteria:
        raise ValueError("scores: give at least one criterion")
    for option, row in scores.items():
        if missing := [c for c in criteria if c not in row]:
            raise ValueError(f"scores: {option!r} has no score for {', '.join(map(repr, missing))}")
    weight = dict.fromkeys(criteria, 1.0) if weights is None else {c: float(w) for c, w in weights.items()}
    if wrong := sorted(set(weight) ^ set(criteria)):
        raise ValueError(f"weights: they must name the criteria of the scores and no others; check {', '.join(wrong)}")
    total = sum(weight.values())
    if min(weight.values()) < 0 or total <= 0:
        raise ValueError("weights: they must not be negative, and not all zero")

    def cell(value: object) -> str:
        return " ".join(str(value).split()).replace("|", "\\|")

    def number(value: float) -> str:
        return f"{value:.2f}".rstrip("0").rstrip(".")

    means = {o: sum(row[c] * weight[c] for c in criteria) / total for o, row in scores.items()}
    order = sorted(scores, key=lambda o: -means[o])
    lines = [
        f"| Option | {' | '.join(f'{cell(c)} (weight {number(weight[c])})' for c in criteria)} | Weighted mean |",
        f"|---|{'---:|' * (len(criteria) + 1)}",
    ]
    for option in order:
        cells = " | ".join(number(scores[option][c]) for c in criteria)
        lines.append(f"| {cell(option)} | {cells} | {number(means[option])} |")
    best, lead = order[0], means[order[0]] - means[order[1]]
    if lead < 1e-9:
        tied = [o for o in order if means[best] - means[o] < 1e-9]
        return "\n".join([*lines, "", f"Tie between {', '.join(map(cell, tied))}: these scores do not decide it."])
    lines += ["", f"Best: {cell(best)}, ahead of {cell(order[1])} by {number(lead)}."]
    turns = []
    for criterion in criteria:
        left = total - weight[criterion]
        if left > 0:
            first = max(scores, key=lambda o: sum(scores[o][c] * weight[c] for c in criteria if c != criterion) / left)
            if first != best:
                turns.append(f"without {cell(criterion)} it would be {cell(first)}")
    lines.append(
        f"The choice hangs on one criterion: {'; '.join(turns)}." if turns else "No single criterion decides it."
    )
    return "\n".join(lines)
