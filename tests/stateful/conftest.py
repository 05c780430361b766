"""The profiles of the stateful tests: `bounded`, as CI runs them, and `long` (see `tests/effort.py`)."""

from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)

settings.register_profile(
    "bounded", max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=_SLOW_IS_FINE
)
settings.register_profile(
    "long", max_examples=1500, stateful_step_count=60, deadline=None, suppress_health_check=_SLOW_IS_FINE
)
