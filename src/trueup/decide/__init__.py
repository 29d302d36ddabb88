"""From six questions to a way of keeping records together: a table of rules, and what each recommendation rests on."""
