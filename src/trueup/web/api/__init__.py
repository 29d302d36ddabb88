"""The API, `/api/v1`: what the commands look at and decide, by the same functions, for programs and for pages."""
