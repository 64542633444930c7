"""The conformance kit and fakes for plugin authors."""
