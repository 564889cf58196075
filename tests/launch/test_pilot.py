"""Pilot runs use toys that are never measured, and say how much numbers spread."""

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from launch import CONFIGS
from launch.concepts import CONCEPTS, EVERY, PILOTS
from launch.reproduction.pilot import development, spread_of
from launch.reproduction.reproduce import concepts_of

CURVES = {("one", 10): (0.5, 0.6, 0.7), ("one", 20): (0.7, 0.8, 0.9), ("two", 10): (0.5, 0.62, 0.74)}


def table():
    """A table of two curves over three concepts; the seeds of a concept lie 0.02 apart."""
    return pd.DataFrame(
        {"row": f"{curve} {x}", "curve": curve, "x": x, "concept": c, "seed": seed}
        | {metric: value + 0.02 * seed for metric in ("image_similarity", "text_similarity", "demands_met")}
        for (curve, x), values in CURVES.items()
        for c, value in zip(("bear", "robot", "teapot"), values, strict=True)
        for seed in (0, 1)
    )


def test_the_spread_is_that_of_differences_to_the_first_curve_and_that_of_seeds():
    found = spread_of(table(), "demands_met").set_index("row")
    assert found["mean"].to_dict() == pytest.approx({"one 10": 0.61, "one 20": 0.81, "two 10": 0.63})
    between = {"one 10": 0.0, "one 20": 0.0, "two 10": 0.02}  # differences 0, 0.02 and 0.04
    assert found["between_concepts"].to_dict() == pytest.approx(between, abs=1e-12)
    assert found["between_seeds"].tolist() == pytest.approx([0.02 / 2**0.5] * 3)


def test_curves_and_spreads_are_written(tmp_path):
    development(tmp_path / "pilot", table())
    assert (tmp_path / "pilot.png").stat().st_size and (tmp_path / "pilot.pdf").stat().st_size
    spread = pd.read_csv(tmp_path / "pilot_spread.csv")
    assert spread["metric"].drop_duplicates().tolist() == ["image_similarity", "text_similarity", "demands_met"]
    assert len(spread) == 9


def test_the_concepts_of_a_pilot_are_never_measured():
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        pilot, full = (compose("reproduce", ["figure=all", f"budget={name}"]) for name in ("pilot", "full"))
        words = [compose("train", ["experiment=cat_toy", f"concept={name}"]).concept for name in pilot.budget.concepts]
        used = {name: set(concepts_of(config, config.figures)) for name, config in (("pilot", pilot), ("full", full))}
    assert used["pilot"] == set(PILOTS) and used["full"] == set(CONCEPTS)
    assert len(pilot.budget.concepts) == 4 and pilot.budget.seeds == full.budget.seeds
    assert "pilot" in pilot.figures and "pilot" not in full.figures
    toys = {name: concept.scenes(1)[0].toy for name, concept in EVERY.items() if "color" in concept.labels}
    assert len(set(toys.values())) == len(toys)
    assert [word.initializer for word in words] == [toys[name].kind for name in pilot.budget.concepts]
    painters = {name: concept.scenes(1)[0].style for name, concept in EVERY.items() if concept.labels == ("style",)}
    assert len(set(painters.values())) == len(painters)
