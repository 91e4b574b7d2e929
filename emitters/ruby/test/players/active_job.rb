# frozen_string_literal: true

require "active_job_jobs"

module Players
  # ActiveJob's notifications, through ActiveSupport as ActiveJob sends them.
  class ActiveJob
    # The name is what the hooks read: Solid Queue is not installed.
    class SolidQueueAdapter
      def enqueue(_job); end
      def enqueue_at(_job, _timestamp); end
    end

    def initialize
      ActiveJobJobs.on(SolidQueueAdapter.new)

      @jobs = {}
    end

    %w[enqueue enqueue_at perform_start perform enqueue_retry retry_stopped discard].each do |name|
      define_method(name) do |native|
        payload = { job: job(native["job"]) }
        # The adapter's answer, since 7.0.
        payload[:job].successfully_enqueued = native["exception"].nil? if payload[:job].respond_to?(:successfully_enqueued=)
        payload[:aborted] = true if native["aborted"]
        payload[:error] = MappingTest.exception(native["error"]) if native["error"]
        Jobtide::Backend.stub(:process_id, "web-1:4242") { instrument(name, payload, native["exception"]) }
      end
    end

    private

    # An exception of the block is what puts it into the payload.
    def instrument(name, payload, exception)
      ActiveSupport::Notifications.instrument("#{name}.active_job", payload) { raise MappingTest.exception(exception) if exception }
    rescue StandardError
      nil
    end

    def job(native)
      job = @jobs[native["job_id"]] ||= Object.const_get(native["class"]).new
      native.slice("job_id", "queue_name", "executions", "scheduled_at").each { |name, value| job.public_send("#{name}=", value) }
      job
    end
  end
end
