# frozen_string_literal: true

require "sidekiq"
require "sidekiq/api"
require "jobtide"
require "jobtide/sidekiq/deleting"
require "jobtide/sidekiq/pushing"
require "jobtide/sidekiq/running"
require "jobtide/sidekiq/retrying"
require "jobtide/sidekiq/lifecycle"

# Sidekiq 6.4 to 8: `require "jobtide/sidekiq"` in the initializer, in web processes and in workers alike.
#
# In every process, what is pushed is told after Redis took it. In a Sidekiq server, a middleware (the outermost one)
# tells starts and ends, JobRetry tells retries with their time, a death handler tells the end of all tries, and the
# process tells that it is there.
module Jobtide
  module Sidekiq
    class << self
      # Called by itself. `config` is for embedded Sidekiq: Sidekiq.configure_embed { |config| Jobtide::Sidekiq.install(config) }
      def install(config = nil)
        install_client
        config ? install_server(config) : ::Sidekiq.configure_server { |server| install_server(server) }
      end

      private

      def install_client
        return if @client

        @client = true
        Backend.tells("sidekiq")
        ::Sidekiq::Client.prepend(Pushing)
        ::Sidekiq::JobRecord.prepend(Deleting::Waiting)
        ::Sidekiq::SortedEntry.prepend(Deleting::Sorted)
      end

      def install_server(config)
        return if @server

        @server = true
        require "sidekiq/job_retry"
        ::Sidekiq::JobRetry.prepend(Retrying)
        config.server_middleware { |chain| chain.prepend(Running) }
        config.death_handlers << Retrying.method(:died)
        config.on(:startup) { Lifecycle.started(config) }
        config.on(:quiet) { Lifecycle.stopping }
      end
    end
  end
end

Jobtide::Sidekiq.install
