"""Evaluation of words: the metrics of the paper, evaluators, subjects, confidence intervals and verdicts."""
