"""The worker: takes jobs from the hallway (`app.jobs`), develops them with `models`, and publishes what comes out.

    consumer    the process: rings, claims, signals, the end
    crew        what happens to a claimed job, and the threads that do it
    studio      the models on offer;  residency  which of them are in memory
    arithmetic  the same in every worker of a build
    beginning   a job -> the works that it becomes
    requests    a job's words -> a pipeline's words
    developing  one job on its way through the engine
    enlarging   the second model of a job that has two
    engine      one thread that steps
    publishing  pixels -> products -> the row
    products    what a job makes: pictures, a verdict, a decoded step;  trajectories  the steps that are kept
    reporting   progress and previews, best effort
    leases      what is claimed, and the beat that keeps it
    memory      how much of the device's is taken
    herd        several such processes, one for each device
    watchdog    the end of a process whose device hangs
    threads     the two other kinds of thread

Threads: main (control), engine (steps), publisher (files and rows), reporter (Redis), the tickers (beat, sweep,
watchdog, tidy, presence), and the one that hears commands and cancels.
"""
