# frozen_string_literal: true

require "karafka"
require "jobtide"
require "jobtide/in_hand"
require "jobtide/karafka/consuming"

# Karafka 2: `require "jobtide/karafka"` after the app is set up, in karafka.rb (the railtie does).
#
# Subscribes to Karafka's monitor. A job is what a consumer is given at once: a batch of a partition's messages, named by
# topic, partition and first offset. It waits from its first message's time on. Karafka tries until it succeeds, or until a
# dead letter queue takes the message. Written against the documented events; not run with the gem.
module Jobtide
  module Karafka
    SYSTEM = "karafka"
    HAND = InHand.new
    SUBSCRIPTIONS = {
      "consumer.consume" => Consuming.method(:started), "consumer.consumed" => Consuming.method(:finished),
      "error.occurred" => Consuming.method(:raised), "consumer.consuming.retry" => Consuming.method(:retrying),
      "dead_letter_queue.dispatched" => Consuming.method(:dead), "app.running" => Consuming.method(:online),
      "app.quieting" => Consuming.method(:stopping), "app.stopping" => Consuming.method(:stopping), "app.stopped" => Consuming.method(:offline)
    }.freeze

    # Called by itself. An event that a version of Karafka does not have is left out.
    def self.install
      return if @installed

      @installed = true
      SUBSCRIPTIONS.each do |name, told|
        site = Jobtide.site("karafka.#{name}")
        ::Karafka.monitor.subscribe(name) { |event| Jobtide.guard(site) { told.call(event) if Jobtide.emitter.enabled } }
      rescue StandardError => e
        raise if e.is_a?(NameError) # this is no Karafka that we know

        Jobtide.log.warn("jobtide: Karafka has no event #{name}: #{e.class}")
      end
    end
  end
end

Jobtide::Karafka.install
