# frozen_string_literal: true

require "active_support/notifications"

# GoodJob's documented notifications and the two of its classes that the hooks ask, as GoodJob 3 and 4 have them.
module GoodJob
  VERSION = "stand-in"
  Record = Struct.new(:active_job_id, :batch_id)

  class << self
    attr_accessor :retry_on_unhandled_error
  end

  module CurrentThread
    class << self
      attr_accessor :job
    end
  end

  class Batch
    class << self
      attr_accessor :current_batch_id
    end
  end

  # A pool of threads for some queues.
  class Scheduler
    def initialize(queues, max_threads)
      instrument("scheduler_create_pool", performer_name: queues, max_threads: max_threads) { nil }
    end

    def shutdown
      instrument("scheduler_shutdown_start", wait: true)
      instrument("scheduler_shutdown", wait: true) { nil }
    end

    private

    def instrument(name, **payload, &block)
      ActiveSupport::Notifications.instrument("#{name}.good_job", { scheduler: self, process_id: 1 }.merge(payload), &block)
    end
  end
end
