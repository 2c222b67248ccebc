"""For all tests and notebooks: what passes on an idle machine does not fail on a busy one."""

from book_pages import PATIENCE
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config):
    if hasattr(config.option, "nbval_kernel_startup_timeout"):
        config.option.nbval_kernel_startup_timeout = PATIENCE


def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, "output_timeout"):  # a cell under nbval, which otherwise gives what was printed 5 s to arrive
            item.output_timeout = PATIENCE
