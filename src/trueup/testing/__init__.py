"""For connector authors: the conformance suite, its mutants, the fault wrapper and the simulator."""
