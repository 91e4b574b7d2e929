# frozen_string_literal: true

# Sidekiq: a worker's file (sidekiq -r ./waits.rb), and ruby waits.rb KIND JOBS BACKOFF_MS LATER_S to push. Writes the oracle as the Python shop does.
require "json"
require "sidekiq"
require "sidekiq/job_retry"
require "jobtide/sidekiq"

redis = { url: ENV.fetch("JOBTIDE_EXAMPLE_REDIS") }
Sidekiq.configure_client { |config| config.redis = redis }
Sidekiq.configure_server do |config|
  config.redis = redis
  (config.respond_to?(:capsules) ? config : Sidekiq.options)[:poll_interval_average] = 0.3
end
class Sidekiq::JobRetry
  def rand(*) = 0
end

def wall_us = Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)

def write(what, job_id, t: wall_us, **more)
  line = { what: what, t: t, backend: "sidekiq", queue: "shop", job_class: "Waiting", job_id: job_id, pid: Process.pid, **more }
  File.open(ENV.fetch("JOBTIDE_ORACLE"), File::WRONLY | File::APPEND | File::CREAT) { |file| file.syswrite("#{JSON.generate(line)}\n") }
end

# Fails `failures` times first.
class Waiting
  include Sidekiq::Worker
  sidekiq_options queue: "shop", retry: 2
  sidekiq_retry_in { |*| Integer(ENV.fetch("BACKOFF_MS", "2000")) / 1000 }

  def perform(failures)
    started = wall_us # before anything else, such as a thread's first connection
    began = Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond)
    attempt = Sidekiq.redis { |connection| connection.call("INCR", "waits:attempts:#{jid}") }
    write("start", jid, t: started, attempt: attempt)
    fails = attempt <= failures
    run_us = Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond) - began
    write("left", jid, attempt: attempt, outcome: fails ? "retry" : "ok", run_us: run_us)
    raise IOError, "as planned" if fails
  end
end

if ARGV.size == 4
  kind, jobs, _, later_s = ARGV
  Sidekiq.redis { |connection| connection.call("PING") } # connecting lies between the oracle's stamp and the hook
  Integer(jobs).times do
    before = wall_us
    jid = kind == "later" ? Waiting.perform_in(Float(later_s), 0) : Waiting.perform_async(kind == "retry" ? 1 : 0)
    write("enqueue", jid, t: before, attempt: 1, run_at: kind == "later" ? before + (Float(later_s) * 1_000_000).to_i : nil)
  end
  Jobtide.close
end
