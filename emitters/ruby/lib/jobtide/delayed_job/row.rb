# frozen_string_literal: true

require "jobtide/backend"
require "jobtide/moments"

# Reads a job of DelayedJob (a row): which attempt of which job it is.
#
# A wrapped ActiveJob goes by its own class and id, so that all its tries are one job, whichever layer tries again.
module Jobtide
  module DelayedJob
    module Row
      SYSTEM = "delayed_job"
      CLASS_IN_YAML = %r{!ruby/\w+:(\S+)}.freeze

      module_function

      def job(row)
        wrapped = active_job(row)
        name, id, before = wrapped || [job_class(row), row.id.to_s, 0]
        more = row.priority.to_i.zero? ? {} : { priority: row.priority.to_i }
        Jobtide.emitter.job(SYSTEM, row.queue || "default", name, id, before + row.attempts + 1, **more)
      end

      # [class, id, executions] of a wrapped ActiveJob, nil otherwise.
      def active_job(row)
        payload = row.payload_object
        payload.respond_to?(:job_data) ? Backend.active_job(payload.job_data) : nil
      rescue StandardError # a payload that cannot be loaded
        nil
      end

      # Class, or Class#method for delayed methods; without their arguments, which a display name may hold.
      def job_class(row)
        payload = row.payload_object
        return payload.class.name unless defined?(::Delayed::PerformableMethod) && payload.is_a?(::Delayed::PerformableMethod)

        object = payload.object
        object.is_a?(Module) ? "#{object}.#{payload.method_name}" : "#{object.class}##{payload.method_name}"
      rescue StandardError
        row.handler.to_s[CLASS_IN_YAML, 1] || "unknown"
      end

      # The model of the rows, where they are ActiveRecord's.
      def table(row)
        row.class if defined?(::ActiveRecord::Base) && row.is_a?(::ActiveRecord::Base)
      end

      def created_us(row)
        Moments.us(row.created_at) if row.respond_to?(:created_at)
      end

      # An instant that came back from a column: nil when the column has cut it to whole seconds, which would falsify a wait.
      def stored_us(us)
        us unless us.nil? || (us % 1_000_000).zero?
      end

      # When it was to run, if that was later than it was put there; on a retry, always.
      def put_off_us(row)
        run_at_us = Moments.us(row.run_at)
        created_us = created_us(row)
        run_at_us if run_at_us && (row.attempts.positive? || created_us.nil? || run_at_us > created_us)
      end
    end
  end
end
