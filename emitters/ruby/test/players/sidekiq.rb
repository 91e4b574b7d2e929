# frozen_string_literal: true

require "sidekiq_harness"

module Players
  # Sidekiq's hooks, in the order Sidekiq calls them.
  class Sidekiq
    include Jobtide::Sidekiq

    def initialize
      Running.worker_id = "web-1:4242:ab12"
      Thread.current[:jobtide_sidekiq] = nil
    end

    def raw_push(native)
      payloads = native["payloads"]
      asked = Pushing.before(payloads)
      payloads.each { |payload| payload.delete("at") } # as Sidekiq 6 does while it pushes
      Pushing.after(payloads, asked)
      { "payload" => payloads[0] }
    end

    def call(native)
      @state = Running.started(native["payload"], native["payload"]["queue"])
    end

    def returned(_native)
      Running.finished(@state)
      Running.left
    end

    def raised(native)
      Running.raised(@state, MappingTest.exception(native["exception"]))
      Running.left
    end

    def retry(native)
      decision = Retrying.before(native["msg"], native["msg"]["queue"], MappingTest.exception(native["exception"]))
      Retrying::Watched.new(SidekiqHarness::RememberingRedis.new, decision).zadd("retry", native["retry_at"].to_s, "{}")
      Retrying.after(decision)
      Retrying.decided
    end

    # Sidekiq's API, after Redis has removed it.
    def delete(native)
      Deleting.told(native["item"])
    end

    # From inside the job.
    def progress(native)
      Jobtide.progress(native["ratio"], native["step"])
    end

    def death(native)
      Retrying.died(native["msg"], MappingTest.exception(native["exception"]))
    end
  end
end
