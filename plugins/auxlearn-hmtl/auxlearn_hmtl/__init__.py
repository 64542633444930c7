"""The systems of HMTL and of its authors' code, as presets."""
