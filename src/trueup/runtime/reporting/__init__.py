"""The morning report: its facts gathered, kept, and sent to those who get it."""
