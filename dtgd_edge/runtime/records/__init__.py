"""What a plant can look up later: every verdict and event in a log that shows tampering, and pictures.

    audit.py      the sink: a queue, a writing thread, and what it promises
    row.py        one row of the log; chain.py is how rows prove each other
    database.py   the SQLite file; append.py adds rows, log.py reads them
    anchor.py     the side file that knows how long the log was; keeper.py writes it and syncs the disk
    losses.py     counts what could not be recorded
    proof.py      looks for tampering; table.py is the log as CSV
    archive.py    keeps pictures; retention.py makes room
    replay.py     scores kept pictures again
    first.py      a verdict that was not recorded is not acted upon as OK

Every module needs numpy, msgspec and the standard library only.
"""
