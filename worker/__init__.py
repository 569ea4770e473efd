"""The worker: takes jobs from the hallway (`app.jobs`), develops them with `models`, and publishes what comes out.

    consumer    the process: rings, claims, signals, the end      crew        what happens to a claim, and the threads
    studio      the loaded pipelines                              leases      what is claimed, and the beat that keeps it
    developing  a job's words -> a pipeline's words               reporting   progress and previews, best effort
    engine      one thread that steps                             publishing  pixels -> files -> the row
    watchdog    the end of a process whose device hangs           threads     the two other kinds of thread

Threads: main (control), engine (steps), publisher (files and rows), reporter (Redis), beat, sweep, watchdog, and
the one of RQ that hears commands and cancels.
"""
