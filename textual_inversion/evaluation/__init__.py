"""How good a word is: the paper's two metrics, who measures them and on what, intervals and verdicts."""
