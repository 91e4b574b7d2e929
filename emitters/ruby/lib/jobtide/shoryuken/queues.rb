# frozen_string_literal: true

# What SQS says of its queues: how full they are, how long a message stays invisible, how often it may be received.
#
# Asked for in the background only; the hooks use what was last heard.
module Jobtide
  module Shoryuken
    module Queues
      DEFAULT_TIMEOUT_S = 30 # SQS's own

      @attributes = {}

      class << self
        # Asks SQS about each queue. True, so that it can stand in a condition.
        def learn(names)
          names.each do |name|
            queue = ::Shoryuken::Client.queues(name)
            @attributes[name] = ::Shoryuken::Client.sqs.get_queue_attributes(queue_url: queue.url, attribute_names: ["All"]).attributes
          end
          true
        end

        # One hash for each queue, as a snapshot has it.
        def facts
          @attributes.map do |name, said|
            { "queue" => name, "ready" => said["ApproximateNumberOfMessages"].to_i, "scheduled" => said["ApproximateNumberOfMessagesDelayed"].to_i,
              "running" => said["ApproximateNumberOfMessagesNotVisible"].to_i }
          end
        end

        def visibility_timeout_s(name)
          (@attributes.dig(name, "VisibilityTimeout") || DEFAULT_TIMEOUT_S).to_i
        end

        # nil: for ever.
        def max_receives(name)
          policy = @attributes.dig(name, "RedrivePolicy")
          policy && JSON.parse(policy)["maxReceiveCount"]&.to_i
        end
      end
    end
  end
end
