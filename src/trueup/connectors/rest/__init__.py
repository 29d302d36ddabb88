"""Other people's web applications, read and written as a connector file says (`docs/connectors.md`)."""
