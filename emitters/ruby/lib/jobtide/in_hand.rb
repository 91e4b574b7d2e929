# frozen_string_literal: true

require "jobtide/backend"
require "jobtide/broadcasts"

# The process as a worker, and the runs its threads have in hand: for backends that name no workers of their own.
#
# What is remembered belongs to one process and one emitter; a fork begins with nothing in hand.
module Jobtide
  class InHand
    def initialize
      begin_process
    end

    # This process is a worker from now on. Said again (GoodJob has several schedulers in a process), it serves more.
    def online(system, queues:, concurrency:, version: "")
      begin_process
      return unless Jobtide.emitter.enabled
      return @worker.serves(queues, concurrency) if @worker

      @worker = Jobtide.emitter.worker(system, worker_id, queues: queues, concurrency: concurrency, version: version) { held }
      @worker&.counters = -> { { "processed" => @processed, "failed" => @failed } }
      @worker
    end

    def online?
      begin_process
      !@worker.nil?
    end

    def stopping
      @worker&.stopping
    end

    # The worker is gone, the process may go on.
    def offline
      return if @worker.nil?

      @worker = nil
      Jobtide.emitter.end_worker
    end

    def worker_id
      @worker_id ||= Backend.process_id
    end

    # Begins a run of this thread's.
    def start(job, enqueued_at_us: nil, run_at_us: nil)
      begin_process
      hold(Jobtide.emitter.job_started(job, worker_id, enqueued_at_us: enqueued_at_us, run_at_us: run_at_us))
    end

    def hold(run)
      @runs[run] = true
      Backend.run = run
      run
    end

    # The run is over, however it ended. Does nothing with a run that is not in hand.
    def release(run, failed: false)
      return unless @runs.delete(run)

      @processed += 1
      @failed += 1 if failed
      Backend.run = nil
    end

    def held
      @runs.keys.map { |run| Held.new(run.job.queue, run.job.id, run.job.attempt, run.started_text) }
    end

    private

    # Forgets what another process (before a fork) or another emitter (in tests) had.
    def begin_process
      process = [::Process.pid, Jobtide.emitter.object_id]
      return if @process == process

      @process = process
      @runs = {}.compare_by_identity
      @worker = @worker_id = nil
      @processed = @failed = 0
    end
  end
end
