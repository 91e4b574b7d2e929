# frozen_string_literal: true

require "active_job"
require "jobtide/active_job"

# ActiveJobs of every fate, on the adapter that a test names.
module ActiveJobJobs
  def self.on(adapter)
    ActiveJob::Base.logger = Logger.new(IO::NULL)
    ActiveJob::Base.queue_adapter = adapter
    @performed = []
  end

  class << self
    attr_reader :performed
  end

  class Fine < ActiveJob::Base
    def perform(what = "ok")
      ActiveJobJobs.performed << what
    end
  end

  class Retried < ActiveJob::Base
    retry_on ArgumentError, wait: 0, attempts: 2

    def perform
      ActiveJobJobs.performed << "retried"
      raise ArgumentError, "told to"
    end
  end

  class GivenUp < ActiveJob::Base
    retry_on(ArgumentError, wait: 0, attempts: 2) { |_job, _error| ActiveJobJobs.performed << "given up" }

    def perform
      raise ArgumentError, "told to"
    end
  end

  class Discarded < ActiveJob::Base
    discard_on ArgumentError

    def perform
      raise ArgumentError, "told to"
    end
  end

  class Halted < ActiveJob::Base
    before_perform { throw :abort }

    def perform; end
  end

  class Unhandled < ActiveJob::Base
    def perform
      raise IOError, "told to"
    end
  end
end
