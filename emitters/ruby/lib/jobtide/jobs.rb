# frozen_string_literal: true

require "jobtide/bounds"
require "jobtide/guard"
require "jobtide/lanes"
require "jobtide/moments"
require "jobtide/ring"
require "jobtide/run"
require "jobtide/sizes"

# The attempts of jobs and what happens to them, as contract events: the part of the emitter that hooks and apps call.
#
# Says what each event carries, not how it is sent (emitter) nor when a backend reaches that point (the hooks). Times are
# µs since the epoch; without `at_us` an event happens now.
module Jobtide
  # Names one attempt of one job, once for all its events: `facts`, `subject` and `key` are the JSON of what each says.
  class Job
    attr_reader :id, :system, :queue, :attempt, :facts, :subject, :key, :lane, :trace

    def initialize(id, system, queue, attempt, facts, subject, key, lane, trace = nil)
      @id = id
      @system = system
      @queue = queue
      @attempt = attempt
      @facts = facts
      @subject = subject
      @key = key
      @lane = lane
      @trace = trace
    end
  end

  # What all jobs of a class in a queue say, and how their partition keys begin.
  Series = Struct.new(:system, :queue, :facts, :prefix, :plain)
  private_constant :Series

  module JobEvents
    MAX_SERIES = 4096
    NAMED = Jobtide.site("emitter.job")
    SAID = Jobtide.site("emitter.job_event")
    ERROR = Jobtide.site("emitter.error")
    # Stands in when naming failed: its events are dropped, the caller goes on.
    UNNAMED = Job.new("unknown", "unknown", "unknown", 1, nil, nil, nil, 0).freeze
    private_constant :MAX_SERIES, :UNNAMED

    TRACEPARENT = /\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\z/.freeze

    # Names an attempt. `more` is optional data of the contract: max_attempts, priority, parent_job_id, batch_id, labels, …
    # `traceparent` (W3C) is said by all its events; by default that of the span the caller is in (see `Jobtide.tracing`).
    def job(system, queue, job_class, job_id, attempt = 1, traceparent: nil, **more)
      Jobtide.guard(NAMED) do
        id = Bounds.name(job_id)
        series = @series[job_class]&.[](queue)&.[](system) || new_series(system, queue, job_class)
        number = Bounds.attempt(attempt)
        subject = Bounds.quoted(id)
        facts = "#{series.facts},\"job_id\":#{subject},\"attempt\":#{number}"
        facts << "," << Sizes.members(bounded(more)) unless more.empty?
        key = series.prefix + id
        quoted_key = series.plain && subject.bytesize == id.bytesize + 2 ? "\"#{key}\"" : Bounds.quoted(key)
        trace = traceparent || Jobtide.traceparent
        trace = TRACEPARENT.match?(trace) ? ",\"traceparent\":\"#{trace}\"" : nil if trace
        Job.new(id, series.system, series.queue, number, facts, subject, quoted_key, Lanes.of(key), trace)
      end || UNNAMED
    end

    # The attempt waits for a worker from now on.
    def job_enqueued(job, at_us: nil, run_at_us: nil)
      say(job, "job.enqueued.v1", Rank::STEP, moment("run_at", run_at_us), at_us)
    end

    # The attempt was asked for, to start not before `run_at_us`.
    def job_scheduled(job, run_at_us, at_us: nil)
      say(job, "job.scheduled.v1", Rank::STEP, moment("run_at", run_at_us), at_us)
    end

    # A worker begins the attempt. Returns the run, which ends it.
    def job_started(job, worker_id, at_us: nil, enqueued_at_us: nil, run_at_us: nil)
      run = Run.new(self, job, Bounds.name(worker_id), at_us || Moments.now_us)
      text = run.worker_json
      text = "#{text},\"enqueued_at\":\"#{Moments.text(enqueued_at_us)}\"" if enqueued_at_us
      text = "#{text}#{moment('run_at', run_at_us)}" if run_at_us
      say(job, "job.started.v1", Rank::STEP, text, run.started_us)
      run
    end

    # The job gets another attempt, `job.attempt` + 1, not before `run_at_us`.
    def job_retry_scheduled(job, run_at_us, at_us: nil, **more)
      say(job, "job.retry_scheduled.v1", Rank::FINAL, moment("run_at", run_at_us), at_us, more)
    end

    # The job gets no other attempt by itself. `error` is from `error(exception)`.
    def job_dead(job, error, at_us: nil, **more)
      say(job, "job.dead.v1", Rank::FINAL, "", at_us, { error: error, **more })
    end

    # Somebody stopped the attempt, waiting or running.
    def job_cancelled(job, reason, at_us: nil, **more)
      say(job, "job.cancelled.v1", Rank::FINAL, "", at_us, { reason: Bounds.name(reason), **more })
    end

    # The attempt was thrown away without an outcome: expired, unknown class, skipped.
    def job_discarded(job, reason, at_us: nil, **more)
      say(job, "job.discarded.v1", Rank::FINAL, "", at_us, { reason: Bounds.name(reason), **more })
    end

    # An exception as `error` data, with as much as the settings `error_detail` and `error_masking` let out.
    def error(exception)
      Jobtide.guard(ERROR) { Bounds.error(exception, settings.error_detail, settings.error_masking) } || { "class" => "Unknown" }
    end

    # One event of a job: its facts, `text` (JSON members that begin with a comma, or nothing) and `more` (a Hash).
    def say(job, kind, rank, text, at_us, more = nil)
      return unless enabled && job.facts && !off?

      Jobtide.guard(SAID) do
        text = "#{text},#{Sizes.members(more)}" if more && !more.empty?
        put(kind, job.subject, job.key, job.lane, job.facts, text, rank, at_us, job.trace)
      end
      nil
    end

    private

    # Kept for the next jobs of the class.
    def new_series(system, queue, job_class)
      tenant = settings.tenant
      facts = {
        "tenant" => tenant, "environment" => settings.environment, "system" => Bounds.name(system, 32),
        "queue" => Bounds.name(queue), "job_class" => Bounds.name(job_class)
      }
      prefix = "#{tenant}/#{facts['system']}/"
      made = Series.new(facts["system"], facts["queue"], Sizes.members(facts), prefix, Bounds.plain?(prefix)).freeze
      @series = {} if (@series_count = (@series_count || 0) + 1) % MAX_SERIES == 0
      ((@series[job_class] ||= {})[queue] ||= {})[system] = made
    end

    def bounded(more)
      more.compact.transform_values { |value| value.is_a?(String) && value.length > Bounds::MAX_NAME_CHARS ? Bounds.name(value) : value }
    end

    def moment(member, us)
      us ? ",\"#{member}\":\"#{Moments.text(us)}\"" : nil
    end
  end
end
