"""The paper's figures, from cells to verdicts: `cells` learns and evaluates, each figure says what and draws it."""
