"""Scenarios that can be run by name; `simulation.scenario.SCENARIOS` lists them."""
