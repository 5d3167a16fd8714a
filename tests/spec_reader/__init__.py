"""A second reader of the Strongroom repository format, written from SPEC.md alone."""
