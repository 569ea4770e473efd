"""The hallway: the contract that the front door and the workers share.

    settings   the environment, frozen          spec       what a client may ask for, and what it resolves to
    store      every transition of a job        catalogue  what workers say of the models they serve
    queue      the doorbell (RQ)                events     what happens meanwhile (Redis streams)
    storage    where files are kept             orphans    the sweep of files that nobody needs
    recipe     params as the text in a file     failures   what can go wrong, in words
    quote      when a job will start and finish     expectation  what that is made of

Below the store lie tables (the schema), migrations (its history) and database (how it is spoken to).
Nothing here knows HTTP, and nothing here knows tensors.
"""
