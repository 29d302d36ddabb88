"""What systems hold, column by column, before anything is configured or after: read, measured, and with proposals for cleaning."""
