# frozen_string_literal: true

require "shoryuken"
require "jobtide"
require "jobtide/election"
require "jobtide/in_hand"
require "jobtide/shoryuken/queues"
require "jobtide/shoryuken/running"
require "jobtide/shoryuken/sending"
require "jobtide/snapshots"

# Shoryuken 3 to 6 (Amazon SQS): `require "jobtide/shoryuken"` in the app and where workers are configured (the railtie does).
#
# Client and server middleware, and the lifecycle events. SQS counts the deliveries of a message: that is the attempt. The
# next one comes after the visibility timeout or Shoryuken's retry interval; none, when the queue's redrive policy says so.
# Written against Shoryuken's documented interface; not run with the gem.
module Jobtide
  module Shoryuken
    SYSTEM = "shoryuken"
    HAND = InHand.new
    ONLINE = Jobtide.site("shoryuken.startup")
    STOPPING = Jobtide.site("shoryuken.quiet")
    OFFLINE = Jobtide.site("shoryuken.shutdown")
    SNAPSHOT = Jobtide.site("shoryuken.snapshot")

    class << self
      attr_reader :snapshots

      # Called by itself.
      def install
        return if @installed

        @installed = true
        ::Shoryuken::Queue.prepend(Sending::Batches)
        ::Shoryuken.configure_client { |config| config.client_middleware { |chain| chain.add(Sending) } }
        ::Shoryuken.configure_server { |config| install_server(config) }
      end

      private

      # Innermost: Shoryuken's own retries swallow the exception on its way out.
      def install_server(config)
        config.client_middleware { |chain| chain.add(Sending) }
        config.server_middleware { |chain| chain.add(Running) }
        config.on(:startup) { Jobtide.guard(ONLINE) { online } }
        %i[quiet shutdown].each { |name| config.on(name) { Jobtide.guard(STOPPING) { stopping } } }
        config.on(:stopped) { Jobtide.guard(OFFLINE) { HAND.offline } } if ::Shoryuken.options[:lifecycle_events].key?(:stopped)
      end

      def stopping
        @snapshots&.stop
        HAND.stopping
      end

      def online
        return unless Jobtide.emitter.enabled

        groups = ::Shoryuken.groups.values
        queues = groups.flat_map { |group| group[:queues] }.uniq
        HAND.online(SYSTEM, queues: queues, concurrency: groups.sum { |group| group[:concurrency].to_i }, version: ::Shoryuken::VERSION)
        subject = "shoryuken/#{queues.sort.join(',')}"
        @snapshots = Snapshots.new(SYSTEM, SNAPSHOT, -> { Queues.learn(queues) && Election.won?(subject) }, Queues.method(:facts)).start
      end
    end
  end
end

Jobtide::Shoryuken.install
