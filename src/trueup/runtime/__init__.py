"""Order, time, failure and isolation: what runs the core on real systems and the real state."""
