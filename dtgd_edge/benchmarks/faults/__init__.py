"""Faults, injected for real into a real line, and what the line did.

    row.py       what one fault amounts to, and the table of all
    watch.py     the sink that looks at every verdict, and the rule which frames could be judged
    rig.py       a line with the grey bundle to break
    mjpeg.py     a camera for the network: a program of its own, so that it can be killed
    camera.py    the camera and its pictures
    delivery.py  brokers, servers and the disk
    killed.py    SIGKILL at random moments
    inside.py    session, queue and clock

May import what benchmarks may; nothing of it runs on a line.
"""
