"""The same examples in every run; ``--hypothesis-profile=explore`` looks for others, and for longer."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

settings.register_profile("same", derandomize=True, deadline=None, database=None, suppress_health_check=_SLOW, print_blob=True)
settings.register_profile("explore", max_examples=2_000, stateful_step_count=100, deadline=None, suppress_health_check=_SLOW)
settings.load_profile("same")
