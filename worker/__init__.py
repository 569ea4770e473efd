"""The worker: takes jobs from the hallway (`app.jobs`), develops them with `models`, and publishes what comes out.

    consumer    the process: rings, claims, signals, the end
    crew        what happens to a claimed job, and the threads that do it
    studio      the loaded pipelines
    developing  a job's words -> a pipeline's words
    engine      one thread that steps
    publishing  pixels -> files -> the row
    reporting   progress and previews, best effort
    leases      what is claimed, and the beat that keeps it
    memory      how much of the device's is taken
    herd        several such processes, one for each device
    watchdog    the end of a process whose device hangs
    threads     the two other kinds of thread

Threads: main (control), engine (steps), publisher (files and rows), reporter (Redis), the tickers (beat, sweep,
watchdog, tidy, presence), and the one that hears commands and cancels.
"""
