"""The Hypothesis profiles of the stateful tests, one for each level (see `tests/effort.py`)."""

from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)

for level, examples, steps in (("default", 20, 30), ("ci", 80, 40), ("long", 1500, 60)):
    settings.register_profile(
        f"stateful at level {level}",
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=level != "long",
        suppress_health_check=_SLOW_IS_FINE,
    )
