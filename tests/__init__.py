"""The test suite. Run it with `make test`; CONTRIBUTING.md says what lives where."""
