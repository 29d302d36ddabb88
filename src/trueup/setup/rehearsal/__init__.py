"""Rehearsals: the user's own configuration at work on masked copies of what the systems hold, before it is switched on."""
