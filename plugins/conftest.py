"""Settings that all tests share."""

from hypothesis import settings

# The first call of many torch functions imports for seconds, which is no fault of the example at hand.
settings.register_profile("auxlearn", deadline=None)
settings.load_profile("auxlearn")
