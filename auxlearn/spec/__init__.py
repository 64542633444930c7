"""What was asked: the spec, its models, its schema, and every problem with its pointer. Imports no torch."""
