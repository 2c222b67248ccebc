"""Prices by hand."""

import math

import numpy as np
import pytest

from qrnn_helpers.backends.price_lists import charge, machines

EIGHT_STEPS = 192, 48, 36  # one-qubit gates, two-qubit gates, readings


@pytest.mark.parametrize(
    "machine, kappa",
    [
        ("braket_forte", 3.75),
        ("braket_aria", 10),
        ("braket_garnet", 0.3 / 0.00145),
        ("braket_ankaa", 1000 / 3),
        ("azure_ionq", 12.42 / (192 * 0.00022 + 48 * 0.000975)),
        ("azure_quantinuum", 25_000 / (192 + 480 + 180)),
        ("ibm_fez", 0),
    ],
)
def test_kappa(machine, kappa):
    assert charge(machine, 1, 1, gates=EIGHT_STEPS if machine.startswith("azure") else (0, 0, 0))[
        "kappa"
    ] == pytest.approx(kappa)


def test_seconds_and_money_of_ibm():
    found = charge("ibm_fez", 1, np.array([1e8, 4e5 * 1024]), jobs=0)
    np.testing.assert_allclose(found["seconds"] / 3600, [8.3, 34], rtol=0.01)
    np.testing.assert_allclose(found["money"], [48_000, 196_608])
    assert charge("ibm_fez", 1, 0, jobs=3)["seconds"] == 6


def test_unknown_times_leave_the_money_known():
    found = charge("braket_aria", 2, 100)
    assert np.isnan(found["seconds"]) and found["money"] == pytest.approx(3.6)


def test_unknown_machine_names_the_known_ones():
    with pytest.raises(ValueError, match="machine must be one of 'ibm_fez'.*'hal'"):
        charge("hal", 1, 1)


def test_every_price_names_its_source():
    assert machines().source.str.len().min() > 10


@pytest.mark.parametrize(
    "options, words",
    [
        ({"circuits": -1}, "circuits must be at least 0; got -1"),
        ({"shots": [1, -2]}, "shots must be at least 0; got -2"),
        ({"jobs": -3}, "jobs must be at least 0; got -3"),
        ({"gates": (1, -1, 0)}, "gates must be at least 0; got -1"),
        ({"gates": (1, 2)}, r"gates must be three numbers .*; got shape \(2,\)"),
        ({"length": -1e-6}, "length must be at least 0"),
        ({"repetition_delay": -1.0}, "repetition_delay must be at least 0"),
    ],
)
def test_wrong_numbers_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        charge("ibm_fez", **{"circuits": 1, "shots": 1, **options})


def test_a_delay_of_one_s_own_and_unknown_ones():
    assert charge("ibm_fez", 1, 10, jobs=0, length=1e-6, repetition_delay=2e-6)["seconds"] == pytest.approx(3e-5)
    assert np.isnan(charge("ibm_fez", 1, 10, length=math.nan)["seconds"])
