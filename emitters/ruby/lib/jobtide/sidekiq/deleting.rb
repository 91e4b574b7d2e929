# frozen_string_literal: true

require "jobtide/guard"
require "jobtide/sidekiq/payload"

# Jobs that somebody takes back while they wait, through Sidekiq's API or its web pages: cancelled. Not told: a queue or set that
# is cleared as a whole.
module Jobtide
  module Sidekiq
    module Deleting
      DELETED = Jobtide.site("sidekiq.deleted")
      DEAD = "dead"

      # Prepended to Sidekiq::JobRecord: in a queue.
      module Waiting
        def delete
          super.tap { |removed| Jobtide.guard(DELETED) { Deleting.told(item) } if removed }
        end
      end

      # Prepended to Sidekiq::SortedEntry: scheduled, or waiting for its next try.
      module Sorted
        def delete
          super.tap { |removed| Jobtide.guard(DELETED) { Deleting.told(item) } if removed && removed != 0 && parent.name != DEAD }
        end
      end

      def self.told(item)
        Jobtide.emitter.job_cancelled(Payload.job(item), "deleted") if Jobtide.emitter.enabled
      end
    end
  end
end
