# frozen_string_literal: true

require "sneakers"
require "jobtide"
require "jobtide/in_hand"
require "jobtide/sneakers/publishing"
require "jobtide/sneakers/running"

# Sneakers 2.8 to 2.12 and its successor Kicks 3 (RabbitMQ): `require "jobtide/sneakers"` before workers are defined (the railtie
# does).
#
# A middleware tells starts and ends, the worker's `run` and `stop` tell that it is there. AMQP knows no job ids: what is
# published here gets a message_id. The attempt is what the Maxretry handler counts (x-death); other handlers try once.
# Written against the documented middleware and handlers; not run with the gems.
module Jobtide
  module Sneakers
    SYSTEM = "sneakers"
    HAND = InHand.new

    # Called by itself.
    def self.install
      return if @installed

      @installed = true
      ::Sneakers::Worker.prepend(Running::Life)
      ::Sneakers::Publisher.prepend(Publishing)
      ::Sneakers.middleware.use(Running)
    end
  end
end

Jobtide::Sneakers.install
