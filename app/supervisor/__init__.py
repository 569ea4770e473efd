"""`darkroom up`: the whole service as children of one launcher.

    up          what the command does, from top to bottom
    preflight   what must hold before anything is started
    programs    Valkey, worker, API: the command of each, and how it shows that it is ready
    launcher    all of them, in order, and the signals
    child       one of them, kept running
"""
