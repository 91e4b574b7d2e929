"""Runs JOBS jobs, each in a fork that ends by os._exit: python ends.py JOBS. Such a process calls `flush`: nothing of Python's own runs any more."""

import os
import sys

import jobtide_emitter

emitter = jobtide_emitter.emitter()
for number in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        emitter.job_started(emitter.job("cron", "q", "python", str(number)), "w1").finished()
        os._exit(0 if emitter.flush() else 1)
    assert os.waitpid(pid, 0)[1] == 0
