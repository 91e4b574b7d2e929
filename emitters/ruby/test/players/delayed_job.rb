# frozen_string_literal: true

require "delayed_job"
require "jobtide/delayed_job"

module Players
  # DelayedJob's lifecycle. A row has what the hooks read of one.
  class DelayedJob
    include Jobtide::DelayedJob
    Named = Struct.new(:name)
    Columns = Struct.new(:id, :queue, :priority, :attempts, :payload_object, :created_at, :run_at, :handler, :error, keyword_init: true)

    def row(native)
      facts = native["row"]
      # A payload object whose class has the name the vector wants.
      kind = Class.new { define_singleton_method(:name) { facts["job_class"] } }
      times = facts.slice("created_at", "run_at").transform_values { |stamp| Time.at(0, (stamp * 1_000_000).round, :microsecond) }
      Columns.new(payload_object: kind.new, handler: "", **facts.except("job_class").merge(times).transform_keys(&:to_sym))
    end

    def enqueue(native)
      Telling.enqueued(row(native))
    end

    def perform(native)
      Telling.reserved(Named.new("host:web-1 pid:4242"), row(native))
    end

    def invoke_job(native)
      Telling.started(row(native))
    end

    def returned(_native)
      Telling.finished
      Telling.left
    end

    def raised(native)
      Telling.raised(MappingTest.exception(native["exception"]))
    end

    def failure(native)
      Telling.died(row(native))
    end

    def error(native)
      Telling.handled(row(native))
      Telling.left
    end
  end
end
