"""From the systems' addresses to a working project: what they hold, what belongs together, and how sure that is."""
