"""Tells of JOBS jobs, one a millisecond; then waits for a line on its input, and ends in order: python emit.py JOBS"""

import sys
import time

import jobtide_emitter

emitter = jobtide_emitter.emitter()
for number in range(int(sys.argv[1])):
    job = emitter.job("cron", "q", "python", str(number))
    emitter.job_enqueued(job)
    emitter.job_started(job, "w1").finished()
    time.sleep(0.001)
print("told", flush=True)
sys.stdin.readline()
jobtide_emitter.close(30_000)
