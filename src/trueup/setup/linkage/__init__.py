"""Which records are the same: fields and their kinds, keys that bring pairs together, a model trained without labels, and its verdicts."""
