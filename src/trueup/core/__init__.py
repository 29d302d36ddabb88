"""Values in, values out, on Polars frames: no clock, disk, network, thread, chance or log. Read `reconcile` first."""
