"""What every row of a table of methods says to its user; flags, lists, explanations and docs are made from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Method:
    """The part of a row that is text.

    Attributes:
        name: what the flag takes.
        summary: one line.
        paper: where it comes from, with its arXiv id.
        formula: as the paper writes it, in plain text.
        when: when to use it.
        watch: what to look at while it trains.
    """

    name: str
    summary: str
    paper: str
    formula: str
    when: str
    watch: str
