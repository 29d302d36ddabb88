"""Always on: what wakes passes, the threads that run them, and what keeps a slow or broken system from delaying the others.

    server     everything together, from the first look at the state to a clean end
    worker     one entity's thread: takes what woke it, runs the pass, confirms
    wakes      what is waiting to be looked at, coalesced
    lanes      deliveries that last longer than the pass which began them
    breakers   systems that do not answer are left alone for a while
    rolling    one numbered run for many small passes

Everything ends in `Workspace.one_pass`; nothing here knows a value.
"""
