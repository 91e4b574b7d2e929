# frozen_string_literal: true

require "active_job"
require "active_job/callbacks"
require "active_support/notifications"
require "jobtide"
require "jobtide/active_job/enqueued"
require "jobtide/active_job/performed"

# ActiveJob 6.1 to 8, on any adapter: `require "jobtide/active_job"` (the railtie does).
#
# Subscribes to ActiveJob's notifications, each with a block of one argument, the event. What a subscriber raises would
# reach the job: each is a guarded call site.
module Jobtide
  module ActiveJob
    SUBSCRIPTIONS = {
      "enqueue" => Enqueued.method(:one), "enqueue_at" => Enqueued.method(:one), "enqueue_all" => Enqueued.method(:all),
      "enqueue_retry" => Performed.method(:retry_scheduled), "retry_stopped" => Performed.method(:retry_stopped),
      "discard" => Performed.method(:discarded), "perform_start" => Performed.method(:started), "perform" => Performed.method(:performed)
    }.freeze

    class << self
      # Called by itself.
      def install
        return if @installed

        @installed = true
        Backend.tells("active_job")
        SUBSCRIPTIONS.each do |name, told|
          site = Jobtide.site("active_job.#{name}")
          ActiveSupport::Notifications.subscribe("#{name}.active_job") { |event| Jobtide.guard(site) { told.call(event) if Jobtide.emitter.enabled } }
        end
        escaped = Jobtide.site("active_job.escaped")
        ::ActiveJob::Callbacks.singleton_class.set_callback(:execute, :around, prepend: true) { |_, inner| ActiveJob.around(escaped, &inner) }
      end

      # Around everything that ActiveJob does with a job: an error that gets here was handled by nobody.
      def around(site)
        Performed.entered
        yield
      rescue Exception => e # rubocop:disable Lint/RescueException -- told and raised again, whatever it is
        Jobtide.guard(site) { Performed.escaped(e) }
        raise
      end
    end
  end
end

Jobtide::ActiveJob.install
